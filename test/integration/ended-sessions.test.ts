import type { Service, ServiceSchema } from 'moleculer';
import { DataTypes } from 'sequelize';
import { v7 as uuidv7 } from 'uuid';
import { beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { authenticatorOf } from '../../mixins/auth/authenticator';
import { endedSessionsMigration, endSessions, followEndedSessions, purgeEndedSessions } from '../../mixins/auth/ended-sessions';
import { endedSessions } from '../../mixins/auth/ended-sessions.mixin';
import { action, contract } from '../../mixins/contract';
import { Database } from '../../mixins/db/database';
import { type DbVars, db } from '../../mixins/db/db.mixin';
import { table } from '../../mixins/db/model';
import { statement } from '../../mixins/db/statement';
import { freshDatabase } from '../helpers/database';
import { type SmallBroker, smallBroker, somebody } from '../helpers/small-broker';
import { until } from '../helpers/until';

const domain = { name: 'tasks', migrations: [endedSessionsMigration], constraints: {} } as const;
const main = table<{ id: string }>('nothing', { id: { type: DataTypes.UUID, primaryKey: true } });
const whoAmI = contract('one.whoAmI', { params: z.strictObject({}), returns: z.string() });

const services: ServiceSchema[] = [
  {
    name: 'one',
    mixins: [db(domain, main), endedSessions()],
    actions: { whoAmI: action(whoAmI, { summary: 'Who', auth: 'authenticated', handler: ctx => ctx.meta.user.id }) },
  },
  { name: 'two', mixins: [db(domain, main), endedSessions()] },
];

let url: string;
let keys: { dataDir: string };
let here: SmallBroker;
let there: SmallBroker;

const databaseOf = ({ broker }: SmallBroker) => (broker.getLocalService('one') as Service & DbVars).db;
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();
const isRefused = async (at: SmallBroker, user: ReturnType<typeof somebody>) =>
  at.callAs(user, 'one.whoAmI').then(
    () => false,
    error => error.code === 401,
  );

beforeAll(async () => {
  url = await freshDatabase('ended');
  here = await smallBroker(services, { databaseUrls: { tasks: url } });
  // The same keys: another node of the same installation.
  keys = { dataDir: here.config.dataDir };
  there = await smallBroker(services, { databaseUrls: { tasks: url }, ...keys });
});

describe('endSessions', () => {
  it('refuses the tokens in this process with the commit, and in others at once', async () => {
    const leaving = somebody();
    expect(await isRefused(here, leaving)).toBe(false);
    expect(await isRefused(there, leaving)).toBe(false);
    await databaseOf(here).inTransaction(undefined, tx => endSessions(tx, [leaving.sessionId], inAnHour()));
    expect(authenticatorOf(here.broker).isEnded(leaving.sessionId)).toBe(true);
    expect(await isRefused(here, leaving)).toBe(true);
    // Sooner than its next look would be: it was told.
    await until(() => isRefused(there, leaving), { timeout: 1_500 });
  });

  it('refuses nothing when the change is rolled back', async () => {
    const staying = somebody();
    const change = databaseOf(here).inTransaction(undefined, async tx => {
      await endSessions(tx, [staying.sessionId], inAnHour());
      throw new Error('rolled back');
    });
    await expect(change).rejects.toThrow('rolled back');
    expect(await isRefused(here, staying)).toBe(false);
  });

  it('may be told twice, of several at a time, from both sides at once', async () => {
    const sids = Array.from({ length: 20 }, () => uuidv7());
    const end = (at: SmallBroker, order: string[]) =>
      databaseOf(at).inTransaction(undefined, tx => endSessions(tx, order, inAnHour()));
    await Promise.all([end(here, sids), end(there, sids.toReversed()), end(here, sids)]);
    for (const sid of sids) expect(authenticatorOf(here.broker).isEnded(sid)).toBe(true);
  });

  it('throws where nobody follows: silence would mean that nothing is refused', async () => {
    const silent = { info() {}, warn() {}, error() {} };
    const lonely = new Database({ ...domain, url }, silent);
    await lonely.whenReady();
    const change = lonely.inTransaction(undefined, tx => endSessions(tx, [uuidv7()], inAnHour()));
    await expect(change).rejects.toThrow('endedSessions()');
    await lonely.close();
  });
});

describe('an instance', () => {
  const insert = statement<{ sid: string }>(
    'test.insert',
    `insert into ended_sessions (sid, until) values ($sid, now() + interval '1 hour')`,
  );

  it('finds by looking what nobody told it of', async () => {
    const leaving = somebody();
    await insert.all(databaseOf(here), { sid: leaving.sessionId });
    await until(() => isRefused(there, leaving), { timeout: 6_000 });
  });

  it('sees a session whose transaction began long before one that it has seen already', async () => {
    const [slow, fast] = [somebody(), somebody()];
    const seen = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    const slowly = databaseOf(here).inTransaction(undefined, async tx => {
      await insert.all(tx, { sid: slow.sessionId });
      began.resolve();
      await seen.promise;
    });
    await began.promise;
    await databaseOf(here).inTransaction(undefined, tx => endSessions(tx, [fast.sessionId], inAnHour()));
    await until(() => isRefused(there, fast));
    seen.resolve();
    await slowly;
    await until(() => isRefused(there, slow), { timeout: 6_000 });
  });

  it('knows at its start what ended before', async () => {
    const leaving = somebody();
    await insert.all(databaseOf(here), { sid: leaving.sessionId });
    const third = await smallBroker(services, { databaseUrls: { tasks: url }, ...keys });
    expect(await isRefused(third, leaving)).toBe(true);
    await third.stop();
  });

  it('follows once for all services that share a database', async () => {
    const [one, two] = ['one', 'two'].map(name => here.broker.getLocalService(name) as Service & DbVars);
    const authenticator = authenticatorOf(here.broker);
    expect(followEndedSessions(one!.db, authenticator)).toBe(followEndedSessions(two!.db, authenticator));
  });
});

describe('purgeEndedSessions', () => {
  it('removes what no token can refer to any more, and nothing else', async () => {
    const [expired, current] = [uuidv7(), uuidv7()];
    await statement<{ expired: string; current: string }>(
      'test.two',
      `insert into ended_sessions (sid, until)
      values ($expired, now() - interval '1 second'), ($current, now() + interval '1 minute')`,
    ).all(databaseOf(here), { expired, current });
    await purgeEndedSessions(databaseOf(here));
    const left = await statement<object, { sid: string }>('test.left', 'select sid from ended_sessions').all(
      databaseOf(here),
      {},
    );
    const sids = left.map(({ sid }) => sid);
    expect(sids).not.toContain(expired);
    expect(sids).toContain(current);
  });
});
