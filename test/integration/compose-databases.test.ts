import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { Database } from '../../mixins/db/database';
import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { allMigrations } from '../../mixins/domain.mixin';
import { notificationsDomain } from '../../services/notifications/notifications.domain';
import { usersDomain } from '../../services/users/users.domain';

/** What `docker/postgres/init.sh` runs for each domain, of which psql fills in the two variables. */
const SQL = readFileSync('docker/postgres/domain.sql', 'utf8');
const suffix = randomBytes(4).toString('hex');
const silent = { info() {}, warn() {}, error() {} };
const domains: readonly DomainDatabase[] = [usersDomain, notificationsDomain];
const roleOf = ({ name }: DomainDatabase) => `hiver_${name}_${suffix}`;

let admin: pg.Client;

beforeAll(async () => {
  admin = new pg.Client({ connectionString: inject('adminUrl') });
  await admin.connect();
  for (const domain of domains) {
    const filled = SQL.replaceAll(':"role"', pg.escapeIdentifier(roleOf(domain))).replace(":'password'", "'it''s secret'");
    const statements = filled.replace(/^--.*$/gm, '').split(';');
    // One by one: a database cannot be made inside a transaction.
    for (const statement of statements.filter(each => each.trim())) await admin.query(statement);
  }
});

afterAll(async () => {
  for (const domain of domains) {
    await admin.query(`drop database if exists ${roleOf(domain)} with (force)`);
    await admin.query(`drop role if exists ${roleOf(domain)}`);
  }
  await admin.end();
});

function urlOf(role: string, database: string): string {
  const url = new URL(inject('adminUrl'));
  Object.assign(url, { username: role, password: encodeURIComponent("it's secret"), pathname: `/${database}` });
  return url.href;
}

it.each(domains)('the role of $name makes its schema, extensions included, without more rights', async domain => {
  const role = roleOf(domain);
  const database = new Database({ ...domain, migrations: allMigrations(domain), url: urlOf(role, role) }, silent);
  try {
    await database.whenReady();
  } finally {
    await database.close();
  }
});

it('no role opens the database of another', async () => {
  const [users, notifications] = domains.map(roleOf) as [string, string];
  for (const [role, database] of [
    [users, notifications],
    [notifications, users],
  ] as const) {
    const client = new pg.Client({ connectionString: urlOf(role, database) });
    await expect(client.connect()).rejects.toMatchObject({ code: '42501' });
    await client.end().catch(() => undefined);
  }
});
