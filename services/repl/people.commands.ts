import * as z from 'zod';
import { Email, Id } from '../../mixins/fields';
import { endSessionsOfUser, type FoundPerson, showUser } from '../users/operators.contract';
import { type Command, UsageError } from './command';
import { columns, count } from './print';

const show: Command = {
  usage: 'users show <e-mail>',
  about: 'whoever has the address, in every company',
  most: 1,
  async run({ broker, operator, args: [word] }) {
    const email = Email.safeParse(word ?? '');
    if (!email.success) throw new UsageError(`${word ?? 'Nothing'} is no e-mail address.`);
    const found = await showUser.call(broker, { operator, email: email.data });
    return { json: found, text: peopleTable(found.people) || 'Nobody has that address.', isFailure: found.people.length === 0 };
  },
};

const end: Command = {
  usage: 'sessions end <user id or e-mail>',
  about: 'signs a person out everywhere; by e-mail, in every company',
  most: 1,
  async run({ broker, operator, args: [word] }) {
    const user = z.union([Id, Email]).safeParse(word ?? '');
    if (!user.success) throw new UsageError(`${word ?? 'Nothing'} is neither the id of a person nor an e-mail address.`);
    const found = await endSessionsOfUser.call(broker, { operator, user: user.data });
    const lines = found.people.map(
      person =>
        `${person.firstName} ${person.lastName} (${person.companyName}, ${person.id}): ${count(person.ended, 'session')} ended`,
    );
    return { json: found, text: lines.join('\n') };
  },
};

function peopleTable(people: readonly FoundPerson[]): string {
  if (people.length === 0) return '';
  const rows = people.map(person => [
    person.id,
    person.companyName,
    `${person.firstName} ${person.lastName}`,
    person.role,
    person.status,
    person.teams.join(', ') || '-',
    person.liveSessions,
    person.lastSignInAt,
  ]);
  return columns(['ID', 'COMPANY', 'NAME', 'ROLE', 'STATUS', 'TEAMS', 'SESSIONS', 'LAST SIGN-IN'], rows);
}

export const usersCommands = { show };
export const sessionsCommands = { end };
