import { randomUUID } from 'node:crypto';
import type { Service } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as z from 'zod';
import { sealLink } from '../../mixins/auth/seal';
import type { Database } from '../../mixins/db/database';
import type { EventContract } from '../../mixins/events/event';
import { record } from '../../mixins/events/record';
import { notificationsSend } from '../../services/notifications/notifications.contract';
import { companyCreated } from '../../services/users/companies.contract';
import { userCreated, userUpdated } from '../../services/users/users.contract';
import { type App, startApp } from '../helpers/app';
import { readMails } from '../helpers/mails';
import { NotificationsDatabase } from '../helpers/notifications';
import { until } from '../helpers/until';

let app: App;
let users: Database;
let db: NotificationsDatabase;

beforeAll(async () => {
  app = await startApp({ services: ['users', 'notifications'] });
  users = (app.broker.getLocalService('users') as Service & { db: Database }).db;
  db = new NotificationsDatabase(app.config.databaseUrls.notifications!);
});
afterAll(() => app.stop());

const publish = <D extends z.ZodType>(contract: EventContract<D>, data: z.input<D>) =>
  users.inTransaction(undefined, tx => record(tx, contract, data));

interface Company {
  id: string;
}

async function newCompany(): Promise<Company> {
  const id = uuidv7();
  const company = {
    id,
    companyId: id,
    name: 'Atelier Lumière',
    timeZone: 'Europe/Paris',
    locale: 'fr' as const,
    workingWeek: [1],
    version: 1,
  };
  await publish(companyCreated, company);
  return company;
}

function personOf(company: Company, changes: Partial<z.input<typeof userCreated.data>> = {}) {
  const id = uuidv7();
  return {
    id,
    companyId: company.id,
    firstName: 'Zoë',
    lastName: 'Martin',
    email: `${id}@example.com`,
    role: 'EMPLOYEE' as const,
    status: 'ACTIVE' as const,
    teamIds: [],
    pictureUrl: null,
    phone: null,
    timeZone: 'Europe/Paris',
    locale: 'en' as const,
    startsOn: null,
    version: 1,
    ...changes,
  };
}

function inviteOf(person: { id: string; email: string }, token: string) {
  const sealed = sealLink(app.config.sealKeys, token, { userId: person.id, kind: 'INVITE', address: person.email });
  return { sealed, expiresAt: new Date(Date.now() + 7 * 86_400_000).toISOString() };
}

const mailsTo = async (address: string) => (await readMails(app.config.dataDir)).filter(({ to }) => to === address);
const mailTo = (address: string) =>
  until(async () => (await mailsTo(address))[0], { timeout: 10_000, what: `A mail to ${address}` });

/** Waits until everything recorded before has been read: a person recorded last is welcomed last. */
async function everythingIsRead(company: Company): Promise<void> {
  const last = personOf(company);
  await publish(userCreated, last);
  await mailTo(last.email);
  // Topics are read side by side: one more of the other topic.
  await publish(notificationsSend, announcement(company, { userIds: [last.id] }, { subject: 'Last' }));
  await until(async () => (await mailsTo(last.email)).some(({ subject }) => subject === 'Last'), { timeout: 10_000 });
}

const announcement = (
  company: Company,
  to: z.input<typeof notificationsSend.data>['to'],
  more: { subject?: string; dedupeKey?: string } = {},
) => ({
  companyId: company.id,
  kind: 'announcement',
  to,
  params: { subject: more.subject ?? 'Fire drill', text: 'At ten.' },
  dedupeKey: more.dedupeKey ?? randomUUID(),
});

describe('users.create', () => {
  it('mails an invited person their link, in their language', async () => {
    const person = personOf(await newCompany(), { status: 'INVITED', locale: 'fr' });
    await publish(userCreated, { ...person, invite: inviteOf(person, 'TOKEN_1') });
    const mail = await mailTo(person.email);
    expect(mail.subject).toBe('Atelier Lumière vous invite sur Hiver');
    expect(mail.text).toContain('http://app.hiver.test/accept-invite?token=TOKEN_1');
    expect(mail.html).toContain('href="http://app.hiver.test/accept-invite?token=TOKEN_1"');
  });

  it('welcomes who signed a company up, without a link', async () => {
    const person = personOf(await newCompany(), { role: 'ADMIN' });
    await publish(userCreated, person);
    const mail = await mailTo(person.email);
    expect(mail.subject).toBe('Welcome to Hiver, Zoë');
    expect(mail.text).not.toMatch(/https?:/);
  });

  it('mails once when the event comes twice', async () => {
    const company = await newCompany();
    const person = personOf(company);
    await publish(userCreated, person);
    await mailTo(person.email);
    const copy = `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
      select id, topic, key, company_id, version, compacted, envelope from outbox where key = '${person.id}' limit 1`;
    await users.sequelize.query(copy);
    await publish(userCreated, person);
    await everythingIsRead(company);
    expect((await db.deliveries()).filter(({ user_id }) => user_id === person.id)).toHaveLength(1);
    expect(await mailsTo(person.email)).toHaveLength(1);
  });

  it('still invites when the news of a change came first', async () => {
    const person = personOf(await newCompany(), { status: 'INVITED' });
    await publish(userUpdated, { ...person, firstName: 'Zoé', version: 2 });
    await until(async () => (await db.pool.query('select from user_infos where id = $1', [person.id])).rowCount === 1);
    await publish(userCreated, { ...person, invite: inviteOf(person, 'TOKEN_2') });
    expect((await mailTo(person.email)).text).toContain('Hello Zoé,');
  });

  it('mails nobody about what was rolled back', async () => {
    const company = await newCompany();
    const person = personOf(company);
    const failing = users.inTransaction(undefined, async tx => {
      await record(tx, userCreated, person);
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    await everythingIsRead(company);
    expect(await mailsTo(person.email)).toEqual([]);
  });
});

describe('notifications.send', () => {
  const team = uuidv7();
  let company: Company;
  let people: Record<'admin' | 'manager' | 'member' | 'other' | 'invited' | 'gone' | 'stranger', ReturnType<typeof personOf>>;

  beforeAll(async () => {
    company = await newCompany();
    people = {
      admin: personOf(company, { role: 'ADMIN' }),
      manager: personOf(company, { role: 'MANAGER', teamIds: [team] }),
      member: personOf(company, { teamIds: [team] }),
      other: personOf(company),
      invited: personOf(company, { status: 'INVITED', teamIds: [team] }),
      gone: personOf(company, { status: 'DEACTIVATED', teamIds: [team] }),
      stranger: personOf(await newCompany(), { teamIds: [team], role: 'ADMIN' }),
    };
    for (const person of Object.values(people)) await publish(userUpdated, person);
    await until(async () => (await db.pool.query('select from user_infos where id = $1', [people.stranger.id])).rowCount === 1);
  });

  /** Names of those who were told it. */
  async function told(subject: string): Promise<string[]> {
    await everythingIsRead(company);
    const mails = (await readMails(app.config.dataDir)).filter(mail => mail.subject === subject);
    return mails.map(({ to }) => Object.entries(people).find(([, { email }]) => email === to)?.[0] ?? to).sort();
  }

  it.each([
    ['people', () => ({ userIds: [people.member.id, people.other.id] }), ['member', 'other']],
    ['a team', () => ({ teamId: team }), ['manager', 'member']],
    ['a role', () => ({ role: 'ADMIN' as const }), ['admin']],
    ['everyone', () => ({ everyone: true as const }), ['admin', 'manager', 'member', 'other']],
  ])('tells %s, those at work in the company', async (what, to, names) => {
    await publish(notificationsSend, announcement(company, to(), { subject: `For ${what}` }));
    expect((await told(`For ${what}`)).filter(name => name in people)).toEqual(names);
  });

  it('tells nobody of another company', async () => {
    await publish(notificationsSend, announcement(company, { userIds: [people.stranger.id] }, { subject: 'Secret' }));
    expect(await told('Secret')).toEqual([]);
  });

  it('tells once under one key, and each company under its own', async () => {
    const twice = announcement(
      company,
      { userIds: [people.member.id, people.member.id] },
      { subject: 'Once', dedupeKey: 'drill' },
    );
    await publish(notificationsSend, twice);
    await publish(notificationsSend, { ...twice, to: { teamId: team } });
    await publish(notificationsSend, { ...twice, companyId: people.stranger.companyId, to: { userIds: [people.stranger.id] } });
    expect(await told('Once')).toEqual(['manager', 'member', 'stranger']);
  });

  it('waits for people who have not arrived', async () => {
    const late = personOf(company);
    await publish(notificationsSend, announcement(company, { userIds: [late.id] }, { subject: 'Early' }));
    await until(async () => (await db.deliveries()).some(({ user_id, tries }) => user_id === late.id && tries > 0));
    await publish(userUpdated, late);
    expect((await mailTo(late.email)).subject).toBe('Early');
  });

  it('sends a new invitation', async () => {
    const person = personOf(company, { status: 'INVITED' });
    const { sealed, expiresAt } = inviteOf(person, 'TOKEN_3');
    await publish(userUpdated, person);
    const invite = {
      companyId: company.id,
      kind: 'invite',
      to: { userIds: [person.id] },
      params: { expiresAt },
      sealed,
      dedupeKey: `invite:${person.id}`,
    };
    await publish(notificationsSend, invite);
    expect((await mailTo(person.email)).text).toContain('token=TOKEN_3');
  });

  it('puts what nobody can tell aside, and goes on', async () => {
    await publish(notificationsSend, { ...announcement(company, { everyone: true }), kind: 'nonsense', dedupeKey: 'nonsense' });
    await publish(notificationsSend, announcement(company, { userIds: [people.other.id] }, { subject: 'After' }));
    expect(await told('After')).toEqual(['other']);
    const { rows } = await db.pool.query(`select error from dead_letters where key = 'nonsense'`);
    expect(rows).toEqual([{ error: expect.stringContaining('no kind of notification named nonsense') }]);
  });
});
