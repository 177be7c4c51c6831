import { type Queryable, statement } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import { listing } from '../../mixins/pagination';
import { type Team, teamsProblems } from './teams.contract';

const COLUMNS = `t.id, t.name, t.created_at as "createdAt", t.updated_at as "updatedAt", t.version,
  coalesce((
    select json_agg(tm.user_id order by tm.user_id) from team_managers tm
    where tm.company_id = t.company_id and tm.team_id = t.id
  ), '[]') as "managerIds"`;

export const listTeamRows = listing<Team>({
  name: 'teams.list',
  columns: COLUMNS,
  from: 'teams t',
  where: 't.company_id = $companyId',
  filters: { pattern: 'search_fold(t.name) like (select search_fold($pattern))' },
  sorts: { name: 't.name', createdAt: 't.created_at' },
  defaultSort: 'name',
  tieBreaker: 't.id',
});

const findTeam = statement<{ companyId: string; id: string }, Team>(
  'teams.find',
  `select ${COLUMNS} from teams t where t.company_id = $companyId and t.id = $id`,
);

export async function getTeamRow(on: Queryable, companyId: string, id: string): Promise<Team> {
  const team = await findTeam.maybe(on, { companyId, id });
  if (!team) throw teamsProblems.TEAMS_NOT_FOUND();
  return team;
}

const lockTeamId = statement<{ companyId: string; id: string }, { id: string }>(
  'teams.lock',
  'select id from teams where company_id = $companyId and id = $id for no key update',
);

/** A team, held against other changes until the transaction ends. */
export async function lockTeam(tx: Transaction, companyId: string, id: string): Promise<Team> {
  if (!(await lockTeamId.maybe(tx, { companyId, id }))) throw teamsProblems.TEAMS_NOT_FOUND();
  return getTeamRow(tx, companyId, id);
}

/** Which of these teams exist in the company. */
export const listExistingTeams = statement<{ companyId: string; ids: string[] }, { id: string; name: string }>(
  'teams.listExisting',
  'select id, name from teams where company_id = $companyId and id = any($ids::uuid[]) order by name, id',
);

/** Teams by name, without regard to case. */
export const listTeamsByName = statement<{ companyId: string; names: string[] }, { id: string; name: string }>(
  'teams.listByName',
  'select id, name from teams where company_id = $companyId and lower(name) = any(select lower(n) from unnest($names::text[]) n)',
);

/** These teams in the order of their ids, of whichever company. */
export const listTeamsById = statement<{ ids: string[] }, Team & { companyId: string }>(
  'teams.listById',
  `select ${COLUMNS}, t.company_id as "companyId" from teams t where t.id = any($ids::uuid[]) order by t.id`,
);
