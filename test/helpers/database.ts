import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, inject } from 'vitest';
import { Database } from '../../mixins/db/database';
import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { allMigrations } from '../../mixins/domain.mixin';

const silent = { info() {}, warn() {}, error() {} };
const made: string[] = [];

// At import, so that it is the file's first hook: hooks of the end run in reverse, and whoever uses a database is gone.
afterAll(async () => {
  await asAdmin(async client => {
    for (const name of made.splice(0)) await client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
  });
});

/**
 * Makes an empty database that lives as long as the test file.
 * @param name start of its name, for whoever reads PostgreSQL's log
 * @returns its URL
 */
export async function freshDatabase(name = 'test'): Promise<string> {
  return asAdmin(client => create(client, name));
}

/**
 * Makes a database of a domain, migrated, that lives as long as the test file: a clone of a template that is made once
 * in a run.
 * @returns its URL
 */
export async function domainDatabase(domain: DomainDatabase): Promise<string> {
  const template = `template_${domain.name}`;
  return asAdmin(async client => {
    // One worker makes the template, the others wait for it.
    await client.query('select pg_advisory_lock(hashtext($1))', [template]);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [template]);
    if (!rowCount) await makeTemplate(client, domain, template);
    await client.query('select pg_advisory_unlock(hashtext($1))', [template]);
    return create(client, domain.name, template);
  });
}

/** Drops a database that nobody uses and makes it anew, without a table in it. */
export async function emptyDatabase(url: string): Promise<void> {
  const name = pg.escapeIdentifier(new URL(url).pathname.slice(1));
  await asAdmin(async client => {
    await client.query(`drop database ${name}`);
    await client.query(`create database ${name}`);
  });
}

async function makeTemplate(client: pg.Client, domain: DomainDatabase, template: string): Promise<void> {
  const unfinished = `${template}_${randomBytes(4).toString('hex')}`;
  await client.query(`create database ${pg.escapeIdentifier(unfinished)}`);
  const database = new Database({ ...domain, migrations: allMigrations(domain), url: urlOf(unfinished) }, silent);
  try {
    await database.whenReady();
  } finally {
    await database.close();
  }
  await client.query(`alter database ${pg.escapeIdentifier(unfinished)} rename to ${pg.escapeIdentifier(template)}`);
}

async function create(client: pg.Client, prefix: string, template = 'template1'): Promise<string> {
  const name = `${prefix.replaceAll('-', '_')}_${randomBytes(6).toString('hex')}`;
  await client.query(`create database ${pg.escapeIdentifier(name)} template ${pg.escapeIdentifier(template)}`);
  made.push(name);
  return urlOf(name);
}

function urlOf(database: string): string {
  const url = new URL(inject('adminUrl'));
  url.pathname = `/${database}`;
  return url.href;
}

async function asAdmin<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: inject('adminUrl') });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
