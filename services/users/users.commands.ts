import type { ServiceBroker } from 'moleculer';
import { audit, auditAll } from '../../mixins/audit';
import type { Transaction } from '../../mixins/db/transaction';
import { record, recordAll } from '../../mixins/events/record';
import { notificationsSend } from '../notifications/notifications.contract';
import { makeInvites } from './invites';
import { setTeamsOf } from './memberships';
import { removeUnusedLinks } from './sessions.queries';
import { userCreated, usersProblems, userUpdated } from './users.contract';
import { newMemberships, newPeople, type Person, toUserState, type UserRow, users } from './users.model';
import { countOtherAdmins, getPerson } from './users.queries';
import { isSameAddress, losesAdmin } from './users.rules';

/** Makes people and invites them. All of it is written at the transaction's end. */
export async function invitePeople(broker: ServiceBroker, tx: Transaction, people: readonly Person[]): Promise<void> {
  tx.writeAtEnd(newPeople, people);
  tx.writeAtEnd(
    newMemberships,
    people.flatMap(({ companyId, id, teams }) => teams.map(team => ({ companyId, userId: id, teamId: team.id }))),
  );
  const invites = makeInvites(broker, tx, people);
  await recordAll(
    tx,
    userCreated,
    people.map((person, at) => ({ ...toUserState(person), invite: invites[at] })),
  );
  await auditAll(
    tx,
    people.map(person => ({ action: actionOf(tx), subjectType: 'user', subjectId: person.id, before: null, after: person })),
  );
}

/**
 * Changes a person who is locked, tells the other services and leaves an audit row. Where nothing changes, nothing happens.
 * @param teamIds their teams from now on; undefined keeps them
 */
export async function changePerson(
  tx: Transaction,
  before: Person,
  asked: Partial<UserRow>,
  teamIds?: readonly string[],
): Promise<Person> {
  const changes = Object.fromEntries(Object.entries(asked).filter(([field, value]) => value !== before[field as keyof Person]));
  if (Object.keys(changes).length === 0 && teamIds === undefined) return before;
  const { companyId, id } = before;
  if (teamIds) await setTeamsOf(tx, companyId, id, teamIds);
  await tx.update(users, { companyId, id }, changes);
  return noteChange(tx, before);
}

/**
 * What a change of address brings with it: whoever reads the new mailbox has proved nothing yet. They are invited there,
 * and choose a password of their own.
 */
export function withMovedAddress(before: Person, changes: Partial<UserRow>): Partial<UserRow> {
  if (changes.email === undefined || isSameAddress(changes.email, before.email)) return changes;
  const status = before.status === 'ACTIVE' ? 'INVITED' : before.status;
  return { ...changes, status, passwordHash: null, emailVerifiedAt: null };
}

/** Tells the other services what became of a person, and leaves an audit row. */
export async function noteChange(tx: Transaction, before: Person): Promise<Person> {
  const { companyId, id } = before;
  const after = await getPerson(tx, companyId, id);
  await record(tx, userUpdated, toUserState(after));
  // Where nobody is signed in, the person proved by a link who they are.
  const by = tx.ctx?.meta.user ? undefined : { companyId, userId: id };
  await audit(tx, { action: actionOf(tx), subjectType: 'user', subjectId: id, before, after, by });
  return after;
}

/** The company must be locked: else two could go at once. */
export async function assertNotLastAdmin(tx: Transaction, before: Person, changes: Partial<UserRow>): Promise<void> {
  if (!losesAdmin(before, changes)) return;
  const { count } = await countOtherAdmins.one(tx, { companyId: before.companyId, id: before.id });
  if (count === 0) throw usersProblems.USERS_LAST_ADMIN();
}

/** Sends a new link; the ones before lead nowhere any more. */
export async function reinvite(broker: ServiceBroker, tx: Transaction, person: Person): Promise<void> {
  const { companyId, id } = person;
  await removeUnusedLinks.all(tx, { companyId, userId: id });
  const [invite] = makeInvites(broker, tx, [person]);
  await record(tx, notificationsSend, {
    companyId,
    kind: 'invite',
    to: { userIds: [id] },
    params: { expiresAt: invite?.expiresAt },
    dedupeKey: `invite:${id}:${person.version}`,
    sealed: invite?.sealed,
  });
}

function actionOf(tx: Transaction): string {
  return tx.ctx?.action?.name ?? 'users';
}
