import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshDatabase } from '../helpers/database';

let database: pg.Client;
beforeAll(async () => {
  database = new pg.Client({ connectionString: await freshDatabase() });
  await database.connect();
});
afterAll(() => database.end());

const value = async (sql: string) => Object.values((await database.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0];

describe('embedded PostgreSQL', () => {
  it('sorts and folds names as people expect', async () => {
    const names = "unnest(array['Zola', 'Šimić', 'abel', 'élan', 'Abel']) name";
    expect(await value(`select array_agg(name order by name) from ${names}`)).toEqual(['abel', 'Abel', 'élan', 'Šimić', 'Zola']);
    expect(await value("select lower('ŠIMIĆ ÉLAN')")).toBe('šimić élan');
    expect(await value('show server_encoding')).toBe('UTF8');
  });

  it.each(['btree_gist', 'citext', 'pg_trgm', 'unaccent'])('has the extension %s', async name => {
    await database.query(`create extension ${name}`);
  });

  it('has room for the pools of many processes, on this machine only', async () => {
    expect(await value('show max_connections')).toBe('300');
    expect(await value('show listen_addresses')).toBe('127.0.0.1');
  });

  it('asks for the password', async () => {
    const url = `postgres://hiver:wrong@127.0.0.1:${database.port}/postgres`;
    await expect(new pg.Client({ connectionString: url }).connect()).rejects.toThrow(/password authentication failed/);
  });
});
