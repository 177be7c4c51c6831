import { aggregateRows } from '../../mixins/events/aggregate-rows';
import type { Aggregates } from '../../mixins/events/republish';
import { type Company, companyUpdated } from './companies.contract';
import { COMPANY_COLUMNS } from './companies.queries';
import { teamUpdated } from './teams.contract';
import { listTeamsById } from './teams.queries';
import { userUpdated } from './users.contract';
import { toUserState } from './users.model';
import { listPeopleById } from './users.queries';

const userRows = aggregateRows('users');
const teamRows = aggregateRows('teams');
const companyRows = aggregateRows<Company>('companies', COMPANY_COLUMNS);

// Teams of a person and managers of a team are read after the lock: what changed while it was awaited is in the snapshot
// of a second statement only.

const people: Aggregates<typeof userUpdated.data> = {
  contract: userUpdated,
  async page(...where) {
    const [tx] = where;
    const rows = await userRows.page(...where);
    return (await listPeopleById.all(tx, { ids: rows.map(({ id }) => id) })).map(toUserState);
  },
  raise: userRows.raise,
};

const teams: Aggregates<typeof teamUpdated.data> = {
  contract: teamUpdated,
  async page(...where) {
    const [tx] = where;
    const rows = await teamRows.page(...where);
    return listTeamsById.all(tx, { ids: rows.map(({ id }) => id) });
  },
  raise: teamRows.raise,
};

const companies: Aggregates<typeof companyUpdated.data> = {
  contract: companyUpdated,
  async page(...where) {
    const rows = await companyRows.page(...where);
    return rows.map(company => ({ ...company, companyId: company.id }));
  },
  raise: companyRows.raise,
};

/** What the users domain owns and others keep copies of, as it tells of it again. */
export const ownedByUsers = { people, teams, companies };
