import type { Queryable } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import type { ProblemFactory } from '../../mixins/errors';
import { teamsProblems } from './teams.contract';
import { teamManagers } from './teams.model';
import { listExistingTeams } from './teams.queries';
import { usersProblems } from './users.contract';
import { userTeams } from './users.model';
import { listExistingUsers } from './users.queries';

/**
 * Teams by their ids, in the order of their names.
 * @throws USERS_TEAM_UNKNOWN naming each id that is no team of the company
 */
export async function getTeamsById(
  on: Queryable,
  companyId: string,
  teamIds: readonly string[],
): Promise<{ id: string; name: string }[]> {
  if (teamIds.length === 0) return [];
  const found = await listExistingTeams.all(on, { companyId, ids: [...teamIds] });
  assertFound('teamIds', teamIds, found, usersProblems.USERS_TEAM_UNKNOWN);
  return found;
}

/** Puts a person into exactly these teams. */
export async function setTeamsOf(tx: Transaction, companyId: string, userId: string, teamIds: readonly string[]): Promise<void> {
  const teams = await getTeamsById(tx, companyId, teamIds);
  await tx.remove(userTeams, { companyId, userId });
  if (teams.length === 0) return;
  await tx.insert(
    userTeams,
    teams.map(team => ({ companyId, userId, teamId: team.id })),
  );
}

/** Names exactly these people as a team's managers. */
export async function setManagersOf(
  tx: Transaction,
  companyId: string,
  teamId: string,
  managerIds: readonly string[],
): Promise<void> {
  const ids = [...new Set(managerIds.map(id => id.toLowerCase()))];
  const found = ids.length > 0 ? await listExistingUsers.all(tx, { companyId, ids }) : [];
  assertFound('managerIds', managerIds, found, teamsProblems.TEAMS_MANAGER_UNKNOWN);
  await tx.remove(teamManagers, { companyId, teamId });
  if (ids.length > 0) {
    await tx.insert(
      teamManagers,
      ids.map(userId => ({ companyId, teamId, userId })),
    );
  }
}

function assertFound(field: string, asked: readonly string[], found: readonly { id: string }[], problem: ProblemFactory): void {
  const known = new Set(found.map(({ id }) => id));
  const errors = asked.flatMap((id, at) =>
    known.has(id.toLowerCase()) ? [] : [{ field: `${field}.${at}`, message: problem.title }],
  );
  if (errors.length > 0) throw problem({ errors });
}
