import type { ServiceBroker } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { auditAll } from '../../mixins/audit';
import type { Queryable } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import { recordAll } from '../../mixins/events/record';
import { getCompany } from './companies.queries';
import { type ImportedPerson, invalidImport } from './import.rules';
import { makeInvites } from './invites';
import { teamCreated } from './teams.contract';
import { insertTeams, listTeamsByName } from './teams.queries';
import { userCreated, usersProblems } from './users.contract';
import { insertMemberships, insertPeople, listByEmails } from './users.queries';

/** Teams by their lower-case name, and the names of those that are still to be made, as the file spells them first. */
export interface ImportPlan {
  teamIds: Map<string, string>;
  newTeams: string[];
}

/**
 * Compares a file with the company. What exists in other companies plays no part, and is never told.
 * @throws IMPORT_INVALID naming the lines whose address somebody of the company has
 */
export async function planImport(on: Queryable, companyId: string, people: readonly ImportedPerson[]): Promise<ImportPlan> {
  const emails = people.map(person => person.email.toLowerCase());
  const taken = new Set((await listByEmails.all(on, { companyId, emails })).map(row => row.email));
  const errors = people
    .filter(person => taken.has(person.email.toLowerCase()))
    .map(({ line }) => ({ line, field: 'email', message: usersProblems.USERS_EMAIL_TAKEN.title }));
  if (errors.length > 0) throw invalidImport(errors);

  const names = new Map(people.flatMap(({ team }) => (team ? [[team.toLowerCase(), team] as const] : [])).reverse());
  const known = await listTeamsByName.all(on, { companyId, names: [...names.values()] });
  const teamIds = new Map(known.map(team => [team.name.toLowerCase(), team.id]));
  return {
    teamIds,
    newTeams: [...names]
      .filter(([key]) => !teamIds.has(key))
      .map(([, name]) => name)
      .reverse(),
  };
}

/** Makes every person of a file, the teams that it names, and an invitation for each: all of it, or nothing. */
export async function importPeople(
  broker: ServiceBroker,
  tx: Transaction,
  companyId: string,
  people: readonly ImportedPerson[],
): Promise<{ imported: number; teamsCreated: number }> {
  const company = await getCompany.one(tx, { companyId });
  const { teamIds, newTeams } = await planImport(tx, companyId, people);
  await makeTeams(tx, companyId, newTeams, teamIds);

  const made = people.map(({ line: _, team, ...person }) => ({
    timeZone: company.timeZone,
    locale: company.locale,
    phone: null,
    startsOn: null,
    ...person,
    id: uuidv7(),
    companyId,
    status: 'INVITED' as const,
    pictureUrl: null,
    teamIds: team ? [teamIds.get(team.toLowerCase()) ?? ''] : [],
    version: 1,
  }));
  await insertPeople.all(tx, { companyId, people: JSON.stringify(made) });
  const memberships = made.flatMap(person => person.teamIds.map(teamId => ({ userId: person.id, teamId })));
  await insertMemberships.all(tx, { companyId, memberships: JSON.stringify(memberships) });
  const invites = await makeInvites(broker, tx, companyId, made);
  await recordAll(
    tx,
    userCreated,
    made.map(person => ({ ...person, invite: invites.get(person.id) })),
  );
  await auditAll(
    tx,
    made.map(person => ({ action: 'users.import', subjectType: 'user', subjectId: person.id, before: null, after: person })),
  );
  return { imported: made.length, teamsCreated: newTeams.length };
}

async function makeTeams(
  tx: Transaction,
  companyId: string,
  names: readonly string[],
  teamIds: Map<string, string>,
): Promise<void> {
  if (names.length === 0) return;
  const made = names.map(name => ({ id: uuidv7(), companyId, name, managerIds: [], version: 1 }));
  await insertTeams.all(tx, { companyId, teams: JSON.stringify(made) });
  await recordAll(tx, teamCreated, made);
  await auditAll(
    tx,
    made.map(team => ({ action: 'users.import', subjectType: 'team', subjectId: team.id, before: null, after: team })),
  );
  for (const team of made) teamIds.set(team.name.toLowerCase(), team.id);
}
