import { hostname, userInfo } from 'node:os';
import type { Service } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { beforeAll, describe, expect, it } from 'vitest';
import { DOMAINS } from '../../mixins/config';
import { hubOf } from '../../mixins/events/hubs';
import { servicesOf } from '../../services';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { operatorLog, poolOf, type, typeJson } from '../helpers/operator';
import { join, type SignedIn, signUp, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';

const ME = `${userInfo().username}@${hostname()}`;

let app: App;
let admin: SignedIn;
let users: ReturnType<typeof poolOf>;
let presence: ReturnType<typeof poolOf>;

beforeAll(async () => {
  app = await startApp();
  users = poolOf(app.config.databaseUrls.users);
  presence = poolOf(app.config.databaseUrls.presence);
  admin = await signUp(new Client(app.url));
  await until(async () => (await presence.query('select from user_infos where id = $1', [admin.user.id])).rowCount);
});

const say = (line: string) => type(app.broker, line);
const sayJson = (line: string) => typeJson(app.broker, line);
/** Also what the event log still has to bring. */
const isQuiet = () =>
  until(async () =>
    (await sayJson('events status')).json.every(
      (each: any) => each.unpublished === 0 && each.lag.every((at: any) => at.lag === 0),
    ),
  );

describe('events status', () => {
  it('says of every domain what waits, who publishes, how far it has read and what failed', async () => {
    await isQuiet();
    const { isWell, out, err } = await say('events status');
    expect({ isWell, err }).toEqual({ isWell: true, err: '' });
    for (const domain of DOMAINS) expect(out).toMatch(new RegExp(`^${domain} +${app.broker.nodeID} +embedded +0 `, 'm'));
    expect(out).not.toContain('unknown');

    const { json } = await sayJson('events status');
    expect(json.map(({ domain }: any) => domain)).toEqual(DOMAINS);
    expect(json[0].lease).toEqual({ node: app.broker.nodeID, epoch: expect.any(Number), expiresAt: expect.stringMatching(/Z$/) });
    expect(Date.parse(json[0].lease.expiresAt)).toBeGreaterThan(Date.now());
  });

  it('says so when a domain is being replaced', async () => {
    const { broker } = app;
    await broker.destroyService(broker.getLocalService('presence') as Service);
    expect(await say('events status presence')).toMatchObject({
      isWell: false,
      err: 'it cannot answer at the moment: its database is out of reach, or it is being started\n',
    });
    const all = await sayJson('events status');
    expect(all.isWell).toBe(false);
    expect(all.json.map(({ error }: any) => typeof error)).toEqual(['undefined', 'string', ...Array(3).fill('undefined')]);
    for (const schema of servicesOf(['presence']).slice(0, 1)) broker.createService(schema);
    await until(async () => (await sayJson('events status presence')).json.isConsuming);
  });

  it('says the rest while Kafka is out of reach, and why it knows no lag', async () => {
    const kafka = { brokers: ['127.0.0.1:9'], ssl: false, sasl: undefined };
    const alone = await startApp({ kafka, services: ['presence'] });
    const { isWell, json } = await until(async () => {
      const asked = await typeJson(alone.broker, 'events status presence');
      return asked.json.topics?.length > 0 && asked;
    });
    expect({ isWell, json }).toMatchObject({
      isWell: true,
      json: { carrier: 'kafka', unpublished: 0, lag: null, lagError: expect.stringMatching(/./) },
    });
    expect((await type(alone.broker, 'events status')).out).toContain('Lag of presence is unknown: ');
    await alone.stop();
  });

  it('is written down like everything else: who, what, when, and how it ended', async () => {
    await say('events status presence');
    const [row] = await operatorLog(presence);
    expect(row).toMatchObject({ operator: ME, command: 'presence.events.status', arguments: {}, outcome: 'DONE', error: null });
    expect(row?.ended_at).toBeInstanceOf(Date);
  });

  it('is kept for 90 days', async () => {
    await say('events status tasks');
    const tasks = poolOf(app.config.databaseUrls.tasks);
    const age = (days: number) => tasks.query(`update operator_log set at = now() - make_interval(days => $1)`, [days]);
    await age(89);
    await hubOf(app.broker, 'tasks').purge();
    expect(await operatorLog(tasks)).not.toEqual([]);
    await age(91);
    await hubOf(app.broker, 'tasks').purge();
    expect(await operatorLog(tasks)).toEqual([]);
  });
});

describe('nonsense', () => {
  it.each([
    ['events', 'events what?', 'events retry <domain> [id…]'],
    ['events explode users', 'There is no command events explode.', 'events status [domain]'],
    ['events status payroll', `There is no domain payroll. The domains are ${DOMAINS.join(', ')}.`, 'events status [domain]'],
    ['events dead', `The domain is missing. The domains are ${DOMAINS.join(', ')}.`, 'events dead <domain>'],
    ['events verify constructor', 'There is no domain constructor.', 'events verify <domain>'],
    ['events constructor users', 'There is no command events constructor.', 'events status'],
    ['events replay presence --raise', 'events replay has no option --raise.', 'events replay <domain>'],
    ['events replay presence tasks', 'events replay does not take tasks too.', 'events replay <domain>'],
    [`events retry users ${'x'.repeat(201)}`, 'is no id of an event', 'events retry <domain> [id…]'],
    ['users show', 'Nothing is no e-mail address.', 'users show <e-mail>'],
    ['users show camille', 'camille is no e-mail address.', 'users show <e-mail>'],
    ['sessions end', 'Nothing is neither the id', 'sessions end <user id or e-mail>'],
    ['sessions end 17', '17 is neither the id of a person nor an e-mail address.', 'sessions end'],
  ])('%s', async (line, problem, usage) => {
    const { isWell, out, err } = await say(line);
    expect({ isWell, out }).toEqual({ isWell: false, out: '' });
    expect(err).toContain(problem);
    expect(err).toContain(usage);
    expect(await sayJson(line)).toMatchObject({ isWell: false, json: { error: expect.stringContaining(problem) } });
  });

  it('asks nothing of anybody', async () => {
    const before = (await operatorLog(users)).length;
    await say('events republish users --rise');
    await say('users show nobody');
    expect(await operatorLog(users)).toHaveLength(before);
  });
});

describe('events verify, republish, replay', () => {
  it('finds a copy that is behind, and telling everything again mends it', async () => {
    await isQuiet();
    expect(await sayJson('events verify presence')).toMatchObject({
      isWell: true,
      json: { isSame: true, copies: [{ name: 'people', ownedBy: 'users' }, { name: 'teams' }, { name: 'companies' }] },
    });
    await presence.query(`update user_infos set last_name = 'Old', version = 0 where id = $1`, [admin.user.id]);
    const { isWell, out } = await say('events verify presence');
    expect(isWell).toBe(false);
    expect(out).toContain(`people ${admin.user.id}`);
    expect(out).toMatch(/^people .* NO$/m);
    expect((await operatorLog(users))[0]).toMatchObject({ command: 'users.events.page', operator: ME, outcome: 'DONE' });

    const { json } = await sayJson('events republish users');
    expect(json.recorded).toEqual(
      expect.arrayContaining([
        { name: 'people', count: expect.any(Number) },
        { name: 'companies', count: 1 },
      ]),
    );
    await until(async () => (await say('events verify presence')).isWell);
    expect((await operatorLog(users)).find(({ command }) => command === 'users.events.republish')).toMatchObject({
      arguments: { raise: false },
      outcome: 'DONE',
    });
  });

  it('raises the versions where the owner was restored from a backup', async () => {
    await isQuiet();
    const { version } = (await admin.client.get('/users/me')).body;
    await presence.query(`update user_infos set last_name = 'Lost', version = $2 where id = $1`, [admin.user.id, version + 7]);
    await say('events republish users');
    await isQuiet();
    expect((await say('events verify presence')).isWell).toBe(false);
    const { out } = await say('events republish users --raise');
    expect(out).toContain('Versions were raised.');
    await until(async () => (await say('events verify presence')).isWell);
    expect((await admin.client.get('/users/me')).body.version).toBe(version + 10_000);
    const { rows } = await presence.query('select last_name, version from user_infos where id = $1', [admin.user.id]);
    expect(rows).toEqual([{ last_name: admin.user.lastName, version: version + 10_000 }]);
  });

  it('fills emptied copies again', async () => {
    const before = (await presence.query('select * from user_infos order by id')).rows;
    await presence.query('truncate user_infos, team_infos, company_infos');
    expect((await sayJson('events verify presence')).json).toMatchObject({
      isSame: false,
      copies: [{ replica: { count: 0 } }, {}, { replica: { count: 0 } }],
    });
    const { isWell, out } = await say('events replay presence');
    expect(isWell).toBe(true);
    expect(out).toMatch(/^\d+ events read into the copies of presence\.\n$/);
    expect((await presence.query('select * from user_infos order by id')).rows).toEqual(before);
    expect((await say('events verify presence')).isWell).toBe(true);
  });

  it('compares people by the thousand, in pages that are small messages', async () => {
    await users.query(
      `insert into users (id, company_id, first_name, last_name, email, role, status, time_zone, locale, picture_url)
       select uuidv7(), $1, 'Page', 'Person ' || n, 'page-' || n || '@example.com', 'EMPLOYEE', 'INVITED', 'UTC', 'en',
         'https://example.com/' || repeat('x', 1900)
       from generate_series(1, 1200) n`,
      [admin.company.id],
    );
    const page: any = await app.broker.call('users.events.page', { operator: ME, of: 'people' });
    expect(JSON.stringify(page).length).toBeLessThan(300_000);
    expect(page.isLast).toBe(false);
    expect((await sayJson('events verify presence')).json.copies[0].differing).toHaveLength(100);
    await say('events republish users');
    await until(async () => (await sayJson('events verify presence')).json.isSame, { timeout: 20_000 });
  });

  it.each([
    ['events verify users', 'users keeps no copies\n'],
    ['events replay users', 'users keeps no copies\n'],
    ['events republish tasks', 'tasks owns nothing that others keep copies of\n'],
  ])('%s is refused, and that is written down', async (line, message) => {
    expect(await say(line)).toEqual({ isWell: false, out: '', err: message });
    const [row] = await operatorLog(line.includes('tasks') ? poolOf(app.config.databaseUrls.tasks) : users);
    expect(row).toMatchObject({ outcome: 'FAILED', error: message.trim() });
  });
});

describe('events dead, retry', () => {
  it('lists what handlers gave up, and tries it again', async () => {
    await isQuiet();
    const [one, two] = [uuidv7(), uuidv7()];
    const { rows } = await users.query(`select envelope::jsonb as envelope from outbox where topic = 'users.create' limit 1`);
    const bury = (id: string, envelope: object) =>
      presence.query(
        `insert into dead_letters (event_id, service, kind, topic, key, envelope, error, tries)
         values ($1, 'presence', 'replica', 'users.create', $2, $3, 'it tasted bad', 5)`,
        [id, uuidv7(), JSON.stringify(envelope)],
      );
    await bury(one, rows[0].envelope);
    await bury(two, { id: two, type: 'users.create' });
    const { out } = await say('events dead presence');
    expect(out).toMatch(new RegExp(`^${one}  presence \\(replica\\)  users\\.create .* it tasted bad$`, 'm'));
    expect((await sayJson('events dead presence')).json).toMatchObject({
      deadLetters: [{ eventId: one, tries: 5 }, { eventId: two }],
      refused: [],
      totals: { deadLetters: 2, refused: 0 },
    });

    const unknown = uuidv7();
    const first = await sayJson(`events retry presence ${one} ${unknown}`);
    expect(first).toEqual({ isWell: false, json: { done: 1, dead: 0, restored: 0, unknown: [unknown] } });
    expect((await operatorLog(presence))[0]).toMatchObject({
      command: 'presence.events.retry',
      arguments: { ids: [one, unknown] },
    });
    const rest = await say('events retry presence');
    expect(rest).toMatchObject({ isWell: false, out: '0 dead letters went well, 1 failed again.\n' });
    expect((await sayJson('events dead presence')).json.deadLetters).toMatchObject([{ eventId: two, tries: 6 }]);
    await presence.query('delete from dead_letters');
    expect((await say('events dead presence')).out).toBe('presence has given up no event.\n');
    expect(await say('events retry presence')).toMatchObject({ isWell: true, out: 'There is nothing to try again.\n' });
  });

  it('lists what the carrier refused, and sends it again', async () => {
    await isQuiet();
    await users.query(
      `insert into outbox_dead (seq, id, topic, key, company_id, version, compacted, envelope, recorded_at, error)
       select seq, uuidv7(), topic, key, company_id, version, compacted, envelope, recorded_at, 'too large'
       from outbox where topic = 'users.update' order by seq desc limit 2`,
    );
    const { json } = await sayJson('events dead users');
    expect(json).toMatchObject({ totals: { deadLetters: 0, refused: 2 }, refused: [{ error: 'too large' }, {}] });
    const [first] = json.refused;
    expect((await say('events dead users')).out).toContain(first.eventId);
    expect((await sayJson(`events retry users ${first.eventId}`)).json).toMatchObject({ restored: 1, unknown: [] });
    expect((await sayJson('events retry users')).json).toMatchObject({ restored: 1 });
    await isQuiet();
    expect((await sayJson('events status users')).json.refused).toBe(0);
  });
});

describe('users show', () => {
  it('finds whoever has the address in every company, without a secret', async () => {
    const email = uniqueEmail('twice');
    const other = await signUp(new Client(app.url), { name: 'Second\u00a0Company' });
    const here = await join(admin, app.config.dataDir, { email });
    const there = await other.client.post('/users', { firstName: 'Bo', lastName: 'Bis', email, role: 'MANAGER' });
    const { isWell, json } = await sayJson(`users show ${email.toUpperCase()}`);
    expect(isWell).toBe(true);
    expect(json.people).toEqual([
      {
        id: here.user.id,
        companyId: admin.company.id,
        companyName: admin.company.name,
        firstName: here.user.firstName,
        lastName: here.user.lastName,
        email,
        role: 'EMPLOYEE',
        status: 'ACTIVE',
        teams: [],
        liveSessions: 1,
        lastSignInAt: expect.stringMatching(/Z$/),
      },
      expect.objectContaining({ id: there.body.id, status: 'INVITED', role: 'MANAGER', liveSessions: 0, lastSignInAt: null }),
    ]);
    const { out } = await say(`users show ${email}`);
    expect(out).toContain('Second\u00a0Company');
    expect(out).toContain(here.user.id);
    for (const [companyId, subjectId] of [
      [admin.company.id, here.user.id],
      [other.company.id, there.body.id],
    ]) {
      const { rows } = await users.query(
        `select user_id, subject_id, before, after from audit_entries where company_id = $1 and action = 'users.show'`,
        [companyId],
      );
      expect(rows[0]).toEqual({ user_id: null, subject_id: subjectId, before: null, after: { operator: ME } });
    }
    expect((await operatorLog(users))[0]).toMatchObject({ command: 'users.show', arguments: {}, outcome: 'DONE' });
  });

  it('says that nobody has it, and that somebody asked', async () => {
    const before = (await operatorLog(users)).length;
    expect(await say('users show nobody@example.com')).toEqual({
      isWell: false,
      out: 'Nobody has that address.\n',
      err: '',
    });
    expect(await operatorLog(users)).toHaveLength(before + 1);
  });
});

describe('sessions end', () => {
  it('refuses the tokens at once, everywhere, and tells the other services', async () => {
    const person = await join(admin, app.config.dataDir);
    expect((await person.client.get('/users/me')).status).toBe(200);
    const { isWell, out } = await say(`sessions end ${person.user.id}`);
    expect({ isWell, out }).toEqual({
      isWell: true,
      out: `Emil Employee (${admin.company.name}, ${person.user.id}): 1 session ended\n`,
    });
    await until(async () => (await person.client.get('/users/me')).status === 401);
    expect((await new Client(app.url).post('/auth/refresh', { refreshToken: person.refreshToken })).status).toBe(401);
    await until(async () => (await presence.query('select from ended_sessions')).rowCount);
    const { rows } = await users.query(
      `select envelope::jsonb -> 'data' as data from outbox where topic = 'sessions.ended' and key = $1`,
      [person.user.id],
    );
    expect(rows).toMatchObject([{ data: { userId: person.user.id, companyId: admin.company.id } }]);
    const { rows: audited } = await users.query(
      `select user_id, after from audit_entries where action = 'auth.endSessions' and subject_id = $1`,
      [person.user.id],
    );
    expect(audited).toEqual([{ user_id: null, after: { operator: ME, ended: 1 } }]);
    expect((await operatorLog(users))[0]).toMatchObject({ command: 'auth.endSessions', arguments: { id: person.user.id } });
  });

  it('takes an address too, and a person without sessions', async () => {
    const person = await join(admin, app.config.dataDir);
    expect((await sayJson(`sessions end ${person.email}`)).json.people).toMatchObject([{ id: person.user.id, ended: 1 }]);
    expect((await sayJson(`sessions end ${person.email}`)).json.people).toMatchObject([{ id: person.user.id, ended: 0 }]);
    expect((await operatorLog(users))[0]?.arguments).toEqual({});
    expect((await admin.client.get('/users/me')).status).toBe(200);
  });

  it('says that there is no such person, and ends nothing', async () => {
    for (const who of [uuidv7(), 'nobody@example.com']) {
      expect(await say(`sessions end ${who}`)).toEqual({ isWell: false, out: '', err: 'There is no such person.\n' });
      expect((await operatorLog(users))[0]).toMatchObject({ outcome: 'FAILED' });
    }
  });
});

describe('over HTTP', () => {
  it('is none of it to be had', async () => {
    for (const path of ['/users/show?email=a@b.co', '/events/status', '/users/events/status', '/auth/endSessions']) {
      const { status } = await admin.client.get(path);
      expect([404, 405, 422]).toContain(status);
    }
  });
});
