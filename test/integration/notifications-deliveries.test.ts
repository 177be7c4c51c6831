import { randomBytes } from 'node:crypto';
import type { Service } from 'moleculer';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { sealLink } from '../../mixins/auth/seal';
import type { DeliveryJob } from '../../services/notifications/deliveries.job';
import { type App, startApp } from '../helpers/app';
import { MailServer } from '../helpers/mail-server';
import { readMails } from '../helpers/mails';
import { NotificationsDatabase } from '../helpers/notifications';
import { until } from '../helpers/until';

const WEEK = 7 * 86_400_000;
const expiresAt = () => new Date(Date.now() + WEEK).toISOString();

let app: App;
let db: NotificationsDatabase;

async function start(
  overrides: Parameters<typeof startApp>[0] = {},
  options: Parameters<typeof startApp>[1] = {},
): Promise<void> {
  app = await startApp({ services: ['notifications'], ...overrides }, options);
  db = new NotificationsDatabase(app.config.databaseUrls.notifications!, () => {
    (app.broker.getLocalService('notifications') as (Service & { job: DeliveryJob }) | undefined)?.job.wake();
  });
  await db.addCompany();
}

afterEach(async () => {
  await app.stop();
});

/** Seals a token as the users domain does. */
const sealed = (token: string, person: { id: string; email: string }) =>
  sealLink(app.config.sealKeys, token, { userId: person.id, kind: 'INVITE', address: person.email });

const settled = (notificationId: string, status: string, timeout = 10_000) =>
  until(
    async () => {
      const row = await db.delivery(notificationId);
      return row.status === status && row;
    },
    { timeout, what: `The delivery's ${status}` },
  );

describe('deliveries into files', () => {
  beforeEach(() => start());

  it('go out in the language of their reader, and are noted', async () => {
    const [french, english] = [await db.addPerson({ locale: 'fr' }), await db.addPerson({ locale: 'en' })];
    const ids = [await db.addNotification(french.id), await db.addNotification(english.id)];
    for (const id of ids) {
      expect(await settled(id, 'SENT')).toMatchObject({
        tries: 1,
        refusals: 0,
        provider_id: `${id}.eml`,
        claimed_by: null,
        last_error: null,
      });
    }
    const mails = await readMails(app.config.dataDir);
    expect(mails.find(({ to }) => to === french.email)?.subject).toBe('Bienvenue sur Hiver, Zoë');
    expect(mails.find(({ to }) => to === english.email)).toMatchObject({
      subject: 'Welcome to Hiver, Zoë',
      messageId: `<${ids[1]}@hiver.test>`,
    });
    expect(mails).toHaveLength(2);
  });

  it('fall back to the language of the company', async () => {
    const person = await db.addPerson({ locale: 'pt' });
    await settled(await db.addNotification(person.id), 'SENT');
    expect((await readMails(app.config.dataDir))[0]?.subject).toBe('Bienvenue sur Hiver, Zoë');
  });

  it('open a token only on its way into the mail, and forget it', async () => {
    const token = randomBytes(32).toString('base64url');
    const person = await db.addPerson({ status: 'INVITED' });
    const told = { kind: 'invite', params: { expiresAt: expiresAt() }, sealed: sealed(token, person), expiresAt: expiresAt() };
    const row = await settled(await db.addNotification(person.id, told), 'SENT');
    expect(row.sealed).toBeNull();
    const [mail] = await readMails(app.config.dataDir);
    expect(mail?.text).toContain(`http://app.hiver.test/accept-invite?token=${token}`);
    const { rows } = await db.pool.query(
      `select row_to_json(n)::text || row_to_json(d)::text as everything from notifications n join deliveries d on d.notification_id = n.id`,
    );
    expect(rows[0].everything).not.toContain(token);
  });

  it('wait for the key that a token was sealed with', async () => {
    const person = await db.addPerson({ status: 'INVITED' });
    const foreign = sealLink([{ id: 'old', key: randomBytes(32) }], 'x', {
      userId: person.id,
      kind: 'INVITE',
      address: person.email,
    });
    const id = await db.addNotification(person.id, { kind: 'invite', params: { expiresAt: expiresAt() }, sealed: foreign });
    expect(await settled(id, 'FAILED')).toMatchObject({
      refusals: 1,
      sealed: foreign,
      last_error: expect.stringContaining('key old'),
    });
    expect(await readMails(app.config.dataDir)).toEqual([]);
  });

  it('wait for the address that a token was sealed for, and go nowhere else', async () => {
    const person = await db.addPerson({ status: 'INVITED' });
    const told = {
      kind: 'invite',
      params: { expiresAt: expiresAt() },
      sealed: sealed('TOKEN', { ...person, email: 'new@example.com' }),
    };
    const id = await db.addNotification(person.id, told);
    await until(async () => (await db.delivery(id)).tries > 0);
    expect(await db.delivery(id)).toMatchObject({ status: 'PENDING' });
    expect(await readMails(app.config.dataDir)).toEqual([]);
    await db.pool.query(`update user_infos set email = 'new@example.com', version = 2 where id = $1`, [person.id]);
    await settled(id, 'SENT');
    expect((await readMails(app.config.dataDir)).map(({ to }) => to)).toEqual(['new@example.com']);
  });

  it('wait for people who are not known yet', async () => {
    const id = uuidv7();
    const notification = await db.addNotification(id);
    await until(async () => (await db.delivery(notification)).tries > 0);
    await db.addPerson({ id });
    expect(await settled(notification, 'SENT')).toMatchObject({ refusals: 0 });
  });

  it('are dropped when nobody wants them any more, for the reason named', async () => {
    const [active, deactivated, invited] = [
      await db.addPerson(),
      await db.addPerson({ status: 'DEACTIVATED' }),
      await db.addPerson({ status: 'INVITED' }),
    ];
    const invite = (person: { id: string; email: string }, at: string) => ({
      kind: 'invite',
      params: { expiresAt: at },
      sealed: sealed('x', person),
      expiresAt: at,
      secondsAgo: 3_600,
    });
    const ids = {
      PERSON_ACTIVE: await db.addNotification(active.id, invite(active, expiresAt())),
      PERSON_DEACTIVATED: await db.addNotification(deactivated.id, { secondsAgo: 3_600 }),
      EXPIRED: await db.addNotification(invited.id, invite(invited, new Date(Date.now() - 1_000).toISOString())),
      PERSON_UNKNOWN: await db.addNotification(uuidv7(), { secondsAgo: 90_000 }),
    };
    for (const [reason, id] of Object.entries(ids)) {
      expect(await settled(id, 'SUPPRESSED')).toMatchObject({ reason, sealed: null });
    }
    expect(await readMails(app.config.dataDir)).toEqual([]);
  });

  it('send the newest link only', async () => {
    const person = await db.addPerson({ status: 'INVITED' });
    await app.stop();
    const [first, second] = [expiresAt(), new Date(Date.now() + WEEK + 1_000).toISOString()];
    const newer = await db.addNotification(person.id, {
      kind: 'invite',
      params: { expiresAt: second },
      sealed: sealed('NEW', person),
      expiresAt: second,
    });
    const older = await db.addNotification(person.id, {
      kind: 'invite',
      params: { expiresAt: first },
      sealed: sealed('OLD', person),
      expiresAt: first,
    });
    app = await startApp(app.config);
    expect(await settled(older, 'SUPPRESSED')).toMatchObject({ reason: 'LINK_OUTDATED' });
    await settled(newer, 'SENT');
    expect((await readMails(app.config.dataDir)).map(({ text }) => /token=(\w+)/.exec(text)?.[1])).toEqual(['NEW']);
  });
});

describe('deliveries over SMTP', () => {
  let server: MailServer;
  beforeEach(async () => {
    server = await MailServer.start();
    await start({ smtpUrl: `${server.url}?socketTimeout=500` });
  });
  afterEach(() => server.stop());

  it('are delayed by a server that is down, and none is lost', async () => {
    await server.stop();
    const people = await Promise.all(Array.from({ length: 20 }, () => db.addPerson()));
    for (const person of people) await db.addNotification(person.id);
    await until(async () => (await db.deliveries()).filter(({ last_error }) => last_error !== null).length >= 3, {
      timeout: 20_000,
    });
    expect(await db.countByStatus()).toEqual({ PENDING: 20 });
    await server.start();
    await until(async () => (await db.countByStatus()).SENT === 20, { timeout: 25_000 });
    expect(server.received.map(({ to }) => to).sort()).toEqual(people.map(({ email }) => email).sort());
    expect((await db.deliveries()).every(({ refusals }) => refusals === 0)).toBe(true);
  });

  it('are tried again after a refusal for now, later each time', async () => {
    const person = await db.addPerson();
    server.onMail = () => 451;
    const id = await db.addNotification(person.id);
    const refused = await settled(id, 'FAILED');
    expect(refused).toMatchObject({ refusals: 1, tries: 1, claimed_by: null, last_error: expect.stringContaining('451') });
    expect(refused.next_try_at.getTime() - Date.now()).toBeGreaterThan(60_000);
    await db.makeDue();
    const again = await until(async () => {
      const row = await db.delivery(id);
      return row.refusals === 2 && row;
    });
    expect(again.next_try_at.getTime() - Date.now()).toBeGreaterThan(150_000);
    server.onMail = () => 'accept';
    await db.makeDue();
    expect(await settled(id, 'SENT')).toMatchObject({ refusals: 2, last_error: null });
    expect(server.received).toHaveLength(1);
  });

  it('are given up after ten refusals', async () => {
    const person = await db.addPerson();
    server.onRecipient = () => 450;
    const id = await db.addNotification(person.id);
    await settled(id, 'FAILED');
    await db.pool.query('update deliveries set refusals = 9, next_try_at = now()');
    expect(await settled(id, 'DEAD')).toMatchObject({ refusals: 10 });
  });

  it('are given up at once after a refusal for good, and hold up nobody', async () => {
    const [gone, there] = [await db.addPerson(), await db.addPerson()];
    server.onRecipient = address => (address === gone.email ? 550 : 'accept');
    const dead = await db.addNotification(gone.id);
    const row = await settled(dead, 'DEAD');
    expect(row).toMatchObject({ tries: 1, last_error: expect.stringContaining('550') });
    expect(row.last_error).not.toContain(gone.email);
    await settled(await db.addNotification(there.id), 'SENT');
    expect(server.received.map(({ to }) => to)).toEqual([there.email]);
  });

  it('are tried again when the server hangs', async () => {
    const person = await db.addPerson();
    server.onMail = () => 'hang';
    const id = await db.addNotification(person.id);
    await until(async () => (await db.delivery(id)).last_error !== null);
    expect(await db.delivery(id)).toMatchObject({ status: 'PENDING', refusals: 0 });
    server.onMail = () => 'accept';
    await settled(id, 'SENT', 15_000);
    expect(server.received).toHaveLength(1);
  });

  it('count as sent when the server hangs up after taking them', async () => {
    server.onMail = () => 'hang up';
    const ids = await Promise.all(Array.from({ length: 5 }, async () => db.addNotification((await db.addPerson()).id)));
    for (const id of ids) await settled(id, 'SENT', 20_000);
    expect(server.received).toHaveLength(5);
  });

  it('of one message that always hangs hold up nobody for long', async () => {
    const [cursed, ...others] = await Promise.all(Array.from({ length: 6 }, () => db.addPerson()));
    server.onMail = address => (address === cursed!.email ? 'hang' : 'accept');
    await db.addNotification(cursed!.id);
    for (const other of others) await db.addNotification(other.id);
    await until(async () => (await db.countByStatus()).SENT === 5, { timeout: 20_000 });
  });
});

describe('deliveries shared by instances', () => {
  it('go out once each', async () => {
    const server = await MailServer.start();
    await start({ smtpUrl: server.url });
    const second = await startApp(app.config);
    const people = await Promise.all(Array.from({ length: 60 }, () => db.addPerson()));
    await Promise.all(people.map(person => db.addNotification(person.id)));
    await until(async () => (await db.countByStatus()).SENT === 60, { timeout: 20_000 });
    expect(server.received).toHaveLength(60);
    expect(new Set(server.received.map(({ messageId }) => messageId)).size).toBe(60);
    expect((await db.deliveries()).every(({ tries }) => tries === 1)).toBe(true);
    await second.stop();
    await server.stop();
  });

  it('are left to whoever claimed them until the claim runs out', async () => {
    await start();
    const [claimed, free] = [await db.addPerson(), await db.addPerson()];
    await app.stop();
    const held = await db.addNotification(claimed.id);
    await db.pool.query(`update deliveries set claimed_by = $1, claimed_until = now() + interval '1 hour'`, [uuidv7()]);
    app = await startApp(app.config);
    await settled(await db.addNotification(free.id), 'SENT');
    expect(await db.delivery(held)).toMatchObject({ status: 'PENDING', tries: 0 });
    await db.pool.query(`update deliveries set claimed_until = now() - interval '1 second' where claimed_by is not null`);
    expect(await settled(held, 'SENT')).toMatchObject({ tries: 1, claimed_by: null });
  });

  it('stay claimed while they are being sent, and are let go when the node stops', async () => {
    const server = await MailServer.start();
    await start({ smtpUrl: server.url });
    server.onMail = () => 'hang';
    const id = await db.addNotification((await db.addPerson()).id);
    const before = await until(async () => server.tried.length === 1 && (await db.delivery(id)).claimed_until);
    await until(async () => (await db.delivery(id)).claimed_until!.getTime() > before.getTime() + 3_000, { timeout: 8_000 });
    const from = Date.now();
    await app.stop();
    expect(Date.now() - from).toBeLessThan(4_000);
    expect(await db.delivery(id)).toMatchObject({ status: 'PENDING', claimed_by: null, refusals: 0 });
    server.onMail = () => 'accept';
    app = await startApp(app.config);
    await settled(id, 'SENT');
    expect(server.received).toHaveLength(1);
    await server.stop();
  });
});

describe('deliveries while the database is away', () => {
  it('go out once, and are noted when it is back', async () => {
    const server = await MailServer.start();
    await start({ smtpUrl: server.url });
    const admin = new pg.Client({ connectionString: inject('adminUrl') });
    await admin.connect();
    const name = new URL(app.config.databaseUrls.notifications!).pathname.slice(1);
    const id = await db.addNotification((await db.addPerson()).id);
    server.onMail = async () => {
      await admin.query(`alter database ${pg.escapeIdentifier(name)} allow_connections false`);
      await admin.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
      return 'accept' as const;
    };
    const at = await until(() => server.received.length === 1 && Date.now());
    await until(() => Date.now() > at + 500);
    await admin.query(`alter database ${pg.escapeIdentifier(name)} allow_connections true`);
    await admin.end();
    expect(await settled(id, 'SENT', 15_000)).toMatchObject({ tries: 1 });
    server.onMail = () => 'accept';
    await settled(await db.addNotification((await db.addPerson()).id), 'SENT', 15_000);
    expect(server.received).toHaveLength(2);
    await server.stop();
  });
});

describe('the log of deliveries', () => {
  it('has one line for each, with kind and notification, and no address or token', async () => {
    const lines: string[] = [];
    await start({}, { log: { to: { write: (line: string) => lines.push(line) } } as never });
    const person = await db.addPerson({ status: 'INVITED' });
    const id = await db.addNotification(person.id, {
      kind: 'invite',
      params: { expiresAt: expiresAt() },
      sealed: sealed('SECRET', person),
    });
    await settled(id, 'SENT');
    await until(() => lines.some(line => line.includes(id)));
    const about = lines.filter(line => line.includes(id));
    expect(about).toHaveLength(1);
    expect(about[0]).toMatch(/MAIL invite .*SENT/);
    expect(lines.join('')).not.toMatch(/SECRET|@example\.com/);
  });
});
