import type { ServiceBroker } from 'moleculer';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DOMAINS } from '../../mixins/config';
import type { Carrier } from '../../mixins/events/carrier';
import { replay } from '../../mixins/events/operators';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { emptyDatabase } from '../helpers/database';
import { readMails } from '../helpers/mails';
import { join, type SignedIn, signUp, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';

const FOLLOWERS = DOMAINS.filter(domain => domain !== 'users');
const TABLES = ['user_infos', 'team_infos', 'company_infos'] as const;
const EMPTY = TABLES.map(table => ({ table, rows: [] }));

/**
 * What happens to the real domains when their databases are lost: everything that they copied comes back, and nobody is
 * told anything twice.
 * @param makeCarrier the carrier of the configuration unless told
 */
export function describeEmptiedReplicas(makeCarrier?: (broker: ServiceBroker) => Carrier): void {
  let app: App;
  let admin: SignedIn;
  const pools = new Map<string, pg.Pool>();

  const poolOf = (domain: (typeof DOMAINS)[number]) => {
    const known = pools.get(domain);
    if (known) return known;
    const pool = new pg.Pool({ connectionString: app.config.databaseUrls[domain], max: 1 });
    pool.on('error', () => undefined);
    pools.set(domain, pool);
    return pool;
  };
  const closePools = async () => {
    for (const pool of pools.values()) await pool.end();
    pools.clear();
  };

  /** Complete rows of the copies, in order. */
  const rowsOf = (domain: (typeof FOLLOWERS)[number]) =>
    Promise.all(
      TABLES.map(async table => {
        const { rows } = await poolOf(domain).query<{ row: object }>(`select to_jsonb(t) as row from ${table} t order by id`);
        return { table, rows: rows.map(({ row }) => row) };
      }),
    );
  const allRows = () => Promise.all(FOLLOWERS.map(rowsOf));

  /** Waits until every domain has the newest version of everything. */
  const caughtUp = async () => {
    const owned = async (table: string) =>
      (await poolOf('users').query(`select id, version from ${table} order by id`)).rows as { id: string; version: number }[];
    const expected = await Promise.all(['users', 'teams', 'companies'].map(owned));
    await until(
      async () => {
        const seen = (await allRows()).map(copies =>
          copies.map(({ rows }) => (rows as { id: string; version: number }[]).map(({ id, version }) => ({ id, version }))),
        );
        return seen.every(copies => JSON.stringify(copies) === JSON.stringify(expected));
      },
      { timeout: 20_000, what: 'Every copy to be up to date' },
    );
  };

  /** Mails by address, as many as there are; everything that was recorded before is settled when a later one is there. */
  const mailsAfterAnother = async () => {
    const email = uniqueEmail('later');
    const answer = await admin.client.post('/users', { firstName: 'La', lastName: 'Ter', email, role: 'EMPLOYEE' });
    expect(answer.status).toBe(201);
    await until(async () => (await readMails(app.config.dataDir)).some(({ to }) => to === email), { timeout: 20_000 });
    await caughtUp();
    const settled = `select count(*)::int as open from deliveries where status not in ('SENT', 'SUPPRESSED')`;
    await until(async () => (await poolOf('notifications').query(settled)).rows[0].open === 0);
    return (await readMails(app.config.dataDir)).map(({ to }) => to).sort();
  };

  const restart = async () => {
    app = await startApp(app.config, { makeCarrier });
    admin = { ...admin, client: new Client(app.url).as(admin.accessToken) };
  };

  beforeAll(async () => {
    app = await startApp({}, { makeCarrier });
    admin = await signUp(new Client(app.url));
    const team = await admin.client.post('/teams', { name: 'Nuit', managerIds: [admin.user.id] });
    const person = await join(admin, app.config.dataDir, {
      teamIds: [team.body.id],
      startsOn: '2026-03-29',
      phone: '+33612345678',
    });
    const gone = await join(admin, app.config.dataDir);
    const answers = [
      await admin.client.patch(`/users/${person.user.id}`, { firstName: 'Élodie', locale: 'fr' }),
      await admin.client.post(`/users/${gone.user.id}/deactivate`),
      await admin.client.patch(`/teams/${team.body.id}`, { name: 'Jour' }),
      await admin.client.patch('/companies/current', { workingWeek: [1, 2, 3] }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    await caughtUp();
  });
  afterAll(closePools);

  describe('emptied copies', () => {
    it('are the same as before after a replay, and nobody gets a mail', async () => {
      const before = await mailsAfterAnother();
      const rows = await allRows();
      for (const domain of FOLLOWERS) await poolOf(domain).query(`truncate ${TABLES.join(', ')}`);
      expect(await allRows()).toEqual(FOLLOWERS.map(() => EMPTY));
      for (const domain of FOLLOWERS) expect((await replay(app.broker, domain)).read).toBeGreaterThan(0);
      expect(await allRows()).toEqual(rows);
      expect(await mailsAfterAnother()).toHaveLength(before.length + 1);
    });
  });

  describe('emptied databases', () => {
    it('have the same copies as before after a replay, and nobody gets a mail, nor at the start after it', async () => {
      const before = await mailsAfterAnother();
      const rows = await allRows();
      await app.stop();
      await closePools();
      for (const domain of FOLLOWERS) await emptyDatabase(app.config.databaseUrls[domain]!);
      await restart();
      for (const domain of FOLLOWERS) await replay(app.broker, domain);
      expect(await allRows()).toEqual(rows);
      const after = await mailsAfterAnother();
      expect(after).toHaveLength(before.length + 1);
      expect(new Set(after).size).toBe(new Set(before).size + 1);

      await app.stop();
      await restart();
      expect(await mailsAfterAnother()).toHaveLength(before.length + 2);
    });

    it('still tell what was recorded while their node was away', async () => {
      const before = await mailsAfterAnother();
      await app.stop();
      // Only users, and what it records.
      const alone = await startApp({ ...app.config, services: ['users', 'api'] }, { makeCarrier });
      const email = uniqueEmail('meanwhile');
      const invited = await new Client(alone.url)
        .as(admin.accessToken)
        .post('/users', { firstName: 'Mean', lastName: 'While', email, role: 'EMPLOYEE' });
      expect(invited.status).toBe(201);
      await until(async () => {
        const waiting = 'select count(*)::int as n from outbox where published_at is null';
        return (await poolOf('users').query(waiting)).rows[0].n === 0;
      });
      await alone.stop();
      await closePools();
      await emptyDatabase(app.config.databaseUrls.notifications!);
      await restart();
      await replay(app.broker, 'notifications');
      await until(async () => (await readMails(app.config.dataDir)).some(({ to }) => to === email), { timeout: 20_000 });
      expect(await mailsAfterAnother()).toHaveLength(before.length + 2);
    });
  });
}
