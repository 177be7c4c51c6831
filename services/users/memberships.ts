import type { Transaction } from '../../mixins/db/transaction';
import type { ProblemFactory } from '../../mixins/errors';
import { teamsProblems } from './teams.contract';
import { teamManagers } from './teams.model';
import { listExistingTeams } from './teams.queries';
import { usersProblems } from './users.contract';
import { userTeams } from './users.model';
import { listExistingUsers } from './users.queries';

/** Puts a person into exactly these teams. */
export async function setTeamsOf(tx: Transaction, companyId: string, userId: string, teamIds: readonly string[]): Promise<void> {
  const ids = [...new Set(teamIds.map(id => id.toLowerCase()))];
  const found = ids.length > 0 ? await listExistingTeams.all(tx, { companyId, ids }) : [];
  assertFound('teamIds', teamIds, found, usersProblems.USERS_TEAM_UNKNOWN);
  await tx.remove(userTeams, { companyId, userId });
  if (ids.length > 0) {
    await tx.insert(
      userTeams,
      ids.map(teamId => ({ companyId, userId, teamId })),
    );
  }
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
