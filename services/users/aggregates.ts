import type { Aggregates } from '../../mixins/events/republish';
import { companyUpdated } from './companies.contract';
import { lockPageOfCompanies, pageOfCompanies, raiseCompanyVersions } from './companies.queries';
import { teamUpdated } from './teams.contract';
import { listTeamsById, lockPageOfTeamIds, pageOfTeamIds, raiseTeamVersions } from './teams.queries';
import { userUpdated } from './users.contract';
import { toUserState } from './users.model';
import { listPeopleById, lockPageOfUserIds, pageOfUserIds, raiseUserVersions } from './users.queries';

// Teams of a person and managers of a team are read after the lock: what changed while it was awaited is in the snapshot
// of a second statement only.

const people: Aggregates<typeof userUpdated.data> = {
  contract: userUpdated,
  async page(tx, after, limit, isLocking) {
    const rows = await (isLocking ? lockPageOfUserIds : pageOfUserIds).all(tx, { after, limit });
    return (await listPeopleById.all(tx, { ids: rows.map(({ id }) => id) })).map(toUserState);
  },
  async raise(tx, ids, by) {
    await raiseUserVersions.all(tx, { ids, by });
  },
};

const teams: Aggregates<typeof teamUpdated.data> = {
  contract: teamUpdated,
  async page(tx, after, limit, isLocking) {
    const rows = await (isLocking ? lockPageOfTeamIds : pageOfTeamIds).all(tx, { after, limit });
    return listTeamsById.all(tx, { ids: rows.map(({ id }) => id) });
  },
  async raise(tx, ids, by) {
    await raiseTeamVersions.all(tx, { ids, by });
  },
};

const companies: Aggregates<typeof companyUpdated.data> = {
  contract: companyUpdated,
  async page(tx, after, limit, isLocking) {
    const rows = await (isLocking ? lockPageOfCompanies : pageOfCompanies).all(tx, { after, limit });
    return rows.map(company => ({ ...company, companyId: company.id }));
  },
  async raise(tx, ids, by) {
    await raiseCompanyVersions.all(tx, { ids, by });
  },
};

/** What the users domain owns and others keep copies of, as it tells of it again. */
export const ownedByUsers = { people, teams, companies };
