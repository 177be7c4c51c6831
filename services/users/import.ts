import type { ServiceBroker } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { auditAll } from '../../mixins/audit';
import type { Queryable } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import { recordAll } from '../../mixins/events/record';
import { getCompany } from './companies.queries';
import { type ImportedPerson, invalidImport } from './import.rules';
import { type TeamState, teamCreated } from './teams.contract';
import { newTeams } from './teams.model';
import { listTeamsByName } from './teams.queries';
import { invitePeople } from './users.commands';
import { usersProblems } from './users.contract';
import { toInvited } from './users.model';
import { listByEmails } from './users.queries';

export interface ImportPlan {
  /** Teams that there are, by their name in lower case. */
  teams: Map<string, { id: string; name: string }>;
  /** Names of those that are still to be made, as the file spells them first. */
  newNames: string[];
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
  const teams = new Map(known.map(({ id, name }) => [name.toLowerCase(), { id, name }]));
  const newNames = [...names].filter(([key]) => !teams.has(key)).map(([, name]) => name);
  return { teams, newNames: newNames.reverse() };
}

/** Makes every person of a file, the teams that it names, and an invitation for each: all of it, or nothing. */
export async function importPeople(
  broker: ServiceBroker,
  tx: Transaction,
  companyId: string,
  people: readonly ImportedPerson[],
): Promise<{ imported: number; teamsCreated: number }> {
  const company = await getCompany.one(tx, { companyId });
  const { teams, newNames } = await planImport(tx, companyId, people);
  for (const team of await makeTeams(tx, companyId, newNames)) teams.set(team.name.toLowerCase(), team);
  const invited = people.map(({ line: _, team: name, ...person }) => {
    const team = name && teams.get(name.toLowerCase());
    return toInvited(company, { ...person, teams: team ? [team] : [] });
  });
  await invitePeople(broker, tx, invited);
  return { imported: people.length, teamsCreated: newNames.length };
}

async function makeTeams(tx: Transaction, companyId: string, names: readonly string[]): Promise<TeamState[]> {
  const made = names.map(name => ({ id: uuidv7(), companyId, name, managerIds: [], version: 1 }));
  tx.writeAtEnd(newTeams, made);
  await recordAll(tx, teamCreated, made);
  await auditAll(
    tx,
    made.map(team => ({ action: 'users.import', subjectType: 'team', subjectId: team.id, before: null, after: team })),
  );
  return made;
}
