import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { DataTypes } from 'sequelize';
import { afterEach, describe, expect, it } from 'vitest';
import { Database, type DatabaseOptions } from '../../mixins/db/database';
import { migration } from '../../mixins/db/migrations';
import { table } from '../../mixins/db/model';
import { statement } from '../../mixins/db/statement';
import { allMigrations } from '../../mixins/domain.mixin';
import { lockDataFolder } from '../../mixins/embedded/lock';
import { startPostgres } from '../../mixins/embedded/postgres';
import { problems } from '../../mixins/errors';
import { notificationsDomain } from '../../services/notifications/notifications.domain';
import { usersDomain } from '../../services/users/users.domain';
import { startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { domainDatabase, freshDatabase } from '../helpers/database';
import { signUp } from '../helpers/people';
import { until } from '../helpers/until';
import { openWire } from '../helpers/wire';

const silent = { info() {}, warn() {}, error() {} };
const things = migration(
  '0001-things',
  'create table things (id int primary key, name text not null, constraint things_name_key unique (name))',
);
const testProblems = problems({ THINGS_NAME_TAKEN: [409, 'That name is taken.'] });

interface ThingRow {
  id: number;
  name: string;
}
const thingTable = table<ThingRow>('things', { id: { type: DataTypes.INTEGER, primaryKey: true }, name: DataTypes.TEXT });
const listThings = statement<object, ThingRow>('things.list', 'select id, name from things order by id');
const insertThing = statement<ThingRow, ThingRow>(
  'things.insert',
  'insert into things (id, name) values ($id, $name) returning id, name',
);

const opened: Database[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map(database => database.close()));
});

async function open(options: Partial<DatabaseOptions> = {}): Promise<Database> {
  const url = options.url ?? (await freshDatabase());
  const constraints = { things_name_key: testProblems.THINGS_NAME_TAKEN };
  const database = new Database({ name: 'test', migrations: [things], constraints, ...options, url }, silent);
  opened.push(database);
  return database;
}

describe('migrations', () => {
  it.each([usersDomain, notificationsDomain])(
    'of $name make the schema from nothing, and a second start changes nothing',
    async domain => {
      const url = await freshDatabase();
      const migrations = allMigrations(domain);
      await (await open({ url, migrations })).whenReady();
      const client = new pg.Client(url);
      await client.connect();
      const look = async () => (await client.query('select name, ran_at from migrations order by name')).rows;
      const ran = await look();
      expect(ran.map(row => row.name).sort()).toEqual(migrations.map(each => each.name).sort());
      await (await open({ url, migrations })).whenReady();
      expect(await look()).toEqual(ran);
      await client.end();
    },
  );

  it('run once when several instances start together', async () => {
    const url = await freshDatabase();
    const databases = await Promise.all([1, 2, 3, 4].map(() => open({ url })));
    await Promise.all(databases.map(database => database.whenReady()));
    expect(await listThings.all(databases[0]!, {})).toEqual([]);
  });

  it('leave nothing behind when they fail, and say so', async () => {
    const url = await freshDatabase();
    const broken = migration('0002-broken', 'create table others (id int); insert into nowhere values (1)');
    await expect((await open({ url, migrations: [things, broken] })).firstTry).rejects.toThrow('nowhere');
    const mended = migration('0002-broken', 'create table others (id int)');
    await (await open({ url, migrations: [things, mended] })).whenReady();
  });
});

interface Adapter {
  model: { tableName: string; getAttributes(): Record<string, { field: string }> };
}

describe('the tables that transactions write', () => {
  it.each([usersDomain, notificationsDomain])('of $name have the columns that migrations make', async domain => {
    const app = await startApp();
    const client = new pg.Client(app.config.databaseUrls[domain.name]);
    await client.connect();
    for (const service of app.broker.services as unknown as { adapter?: Adapter }[]) {
      const model = service.adapter?.model;
      if (!model) continue;
      const { rows } = await client.query('select column_name from information_schema.columns where table_name = $1', [
        model.tableName,
      ]);
      if (rows.length === 0) continue; // the other domain's
      const columns = rows.map(row => row.column_name);
      for (const { field } of Object.values(model.getAttributes())) expect(columns, model.tableName).toContain(field);
    }
    await client.end();
    await app.stop();
  });
});

describe('inTransaction', () => {
  it('keeps all of a change or nothing', async () => {
    const database = await open();
    await database.whenReady();
    const failing = database.inTransaction(undefined, async tx => {
      await tx.insert(thingTable, { id: 1, name: 'one' });
      await insertThing.one(tx, { id: 2, name: 'two' });
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await listThings.all(database, {})).toEqual([]);
  });

  it('refuses to be nested, at once', async () => {
    const database = await open();
    await database.whenReady();
    const nested = database.inTransaction(undefined, () => database.inTransaction(undefined, async () => 1));
    await expect(nested).rejects.toThrow('inside another');
  });

  it('refuses statements that bypass it', async () => {
    const database = await open();
    await database.whenReady();
    await expect(database.inTransaction(undefined, () => listThings.all(database, {}))).rejects.toThrow('bypassed');
  });

  it('runs again after a deadlock', async () => {
    const database = await open();
    await database.whenReady();
    await database.inTransaction(undefined, tx =>
      tx.insert(thingTable, [
        { id: 1, name: 'one' },
        { id: 2, name: 'two' },
      ]),
    );
    const touch = async (first: number, second: number, name: string) =>
      database.inTransaction(undefined, async tx => {
        await tx.update(thingTable, { id: first }, { name: `${name}-${first}` });
        await statement('sleep', 'select pg_sleep(0.2)').all(tx, {});
        await tx.update(thingTable, { id: second }, { name: `${name}-${second}` });
      });
    await Promise.all([touch(1, 2, 'a'), touch(2, 1, 'b')]);
    const names = (await listThings.all(database, {})).map(row => row.name[0]);
    expect(new Set(names).size).toBe(1);
  });

  it('tells hooks only of what was committed', async () => {
    const database = await open();
    await database.whenReady();
    const told: string[] = [];
    await database.inTransaction(undefined, async tx => tx.afterCommit(() => told.push('kept')));
    await database
      .inTransaction(undefined, async tx => {
        tx.afterCommit(() => told.push('lost'));
        throw new Error('no');
      })
      .catch(() => undefined);
    expect(told).toEqual(['kept']);
  });
});

describe("PostgreSQL's refusals", () => {
  it('become problems with stable codes', async () => {
    const database = await open();
    await database.whenReady();
    await insertThing.one(database, { id: 1, name: 'one' });
    await expect(insertThing.one(database, { id: 2, name: 'one' })).rejects.toMatchObject({
      code: 409,
      type: 'THINGS_NAME_TAKEN',
    });
    await expect(insertThing.one(database, { id: 1, name: 'two' })).rejects.toMatchObject({ code: 409, type: 'CONFLICT' });
    await expect(insertThing.one(database, { id: 3, name: 'a\0b' })).rejects.toMatchObject({
      code: 422,
      type: 'VALIDATION_FAILED',
    });
    const inTransaction = database.inTransaction(undefined, tx => tx.insert(thingTable, { id: 3, name: 'one' }));
    await expect(inTransaction).rejects.toMatchObject({ code: 409, type: 'THINGS_NAME_TAKEN' });
  });

  it('leave instants as they are stored, in ISO 8601', async () => {
    const database = await open();
    await database.whenReady();
    const instants = statement<object, { a: string; b: string; c: string; d: string }>(
      'instants',
      "select '2026-03-29 01:00:00+00'::timestamptz a, '2026-03-29 03:00:00.5+02'::timestamptz b, '2026-03-29 01:00:00.123456Z'::timestamptz c, '2026-03-29'::date d",
    );
    expect(await instants.one(database, {})).toEqual({
      a: '2026-03-29T01:00:00.000Z',
      b: '2026-03-29T01:00:00.500Z',
      c: '2026-03-29T01:00:00.123Z',
      d: '2026-03-29',
    });
  });
});

describe('a database out of reach', () => {
  it('at start: the node starts, says 503, and goes on by itself once it is there', async () => {
    const way = await openWire(await freshDatabase());
    await way.cut();
    const app = await startApp({ databaseUrls: { users: way.url } });
    const http = new Client(app.url);
    expect((await http.get('/health/live')).status).toBe(200);
    expect((await http.get('/health/ready')).status).toBe(503);
    const refused = await http.post('/auth/login', { email: 'a@example.com', password: 'x' });
    expect(refused.body).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
    expect(refused.headers.get('retry-after')).toBeTruthy();
    await way.mend();
    await until(async () => (await http.get('/health/ready')).status === 200, { timeout: 15_000 });
    await signUp(http);
    await app.stop();
    await way.cut();
  });

  it('later: 503 while it is gone, and back by itself', async () => {
    const way = await openWire(await domainDatabase(usersDomain));
    const app = await startApp({ databaseUrls: { users: way.url } });
    const http = new Client(app.url);
    const admin = await signUp(http);
    await way.cut();
    const gone = await Promise.all([1, 2, 3].map(() => admin.client.get('/users')));
    for (const answer of gone) expect(answer.body).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
    await way.mend();
    await until(async () => (await admin.client.get('/users')).status === 200);
    await app.stop();
    await way.cut();
  });

  it('frozen: 503 within the time-out', async () => {
    const way = await openWire(await domainDatabase(usersDomain));
    const app = await startApp({ databaseUrls: { users: way.url } });
    const admin = await signUp(new Client(app.url));
    way.freeze();
    const answers = await Promise.all([admin.client.get('/users/me'), admin.client.patch('/users/me', { locale: 'fr' })]);
    for (const answer of answers) expect(answer.body).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
    await way.cut();
    await way.mend();
    await until(async () => (await admin.client.get('/users/me')).body.locale === 'en', { timeout: 15_000 });
    await app.stop();
    await way.cut();
  });

  it('killed: what was answered is there after recovery', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'hiver-test-'));
    chmodSync(dataDir, 0o711);
    const unlock = lockDataFolder(dataDir);
    const first = await startPostgres({ dataDir, databases: ['test'], log: silent });
    const database = await open({ url: first.urls.test });
    await database.whenReady();
    await insertThing.one(database, { id: 1, name: 'one' });
    process.kill(first.pid, 'SIGKILL');
    await until(() =>
      listThings.all(database, {}).then(
        () => false,
        error => error.type === 'UNAVAILABLE',
      ),
    );
    await database.close();
    await first.stop();
    const second = await startPostgres({ dataDir, databases: ['test'], log: silent });
    expect(await listThings.all(await ready(second.urls.test), {})).toEqual([{ id: 1, name: 'one' }]);
    await Promise.all(opened.splice(0).map(each => each.close()));
    await second.stop();
    unlock();
    rmSync(dataDir, { recursive: true, force: true });
  });
});

async function ready(url: string | undefined): Promise<Database> {
  const database = await open({ url });
  await database.whenReady();
  return database;
}
