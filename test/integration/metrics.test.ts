import pg from 'pg';
import { describe, expect, it } from 'vitest';
import type { Config } from '../../mixins/config';
import { metricsOf } from '../../mixins/metrics/metrics';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { join, signUp, uniqueEmail } from '../helpers/people';
import { occupyPort } from '../helpers/processes';
import { until } from '../helpers/until';

type Labels = Record<string, string>;

/** What Prometheus reads of a line: `name{label="value"} 1`. */
interface Sample {
  name: string;
  labels: Labels;
  value: number;
}

interface Measured extends App {
  metricsUrl: string;
  samples(): Promise<Sample[]>;
  /** The value of the one series with these labels. */
  value(name: string, labels?: Labels): Promise<number | undefined>;
}

async function startMeasured(overrides: Partial<Config> = {}): Promise<Measured> {
  const lines: string[] = [];
  const to = { write: (text: string) => void lines.push(text) };
  const app = await startApp({ metricsPort: 0, ...overrides }, { log: { to } });
  const metricsUrl = /"url":"(http:[^"]+)"/.exec(lines.join(''))?.[1] ?? '';
  const samples = async () => {
    const response = await fetch(metricsUrl);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    return parse(await response.text());
  };
  const value = async (name: string, labels: Labels = {}) => {
    const found = (await samples()).filter(sample => sample.name === name && isPart(labels, sample.labels));
    expect(found.length, `${name} ${JSON.stringify(labels)}`).toBeLessThan(2);
    return found[0]?.value;
  };
  return Object.assign(app, { metricsUrl, samples, value });
}

function parse(text: string): Sample[] {
  return text
    .split('\n')
    .filter(line => line && !line.startsWith('#'))
    .map(line => {
      const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      expect(name, line).not.toBe('');
      return {
        name,
        labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, k, v]) => [k, v])),
        value: Number(value),
      };
    });
}

const isPart = (part: Labels, whole: Labels) => Object.entries(part).every(([name, value]) => whole[name] === value);

const requests = 'hiver_http_request_duration_seconds_count';

describe('GET /metrics', () => {
  it('counts requests by method, route and status, and names nothing that a client made up', async () => {
    const app = await startMeasured();
    const admin = await signUp(new Client(app.url));
    await admin.client.get('/users/me');
    await admin.client.get(`/users/${admin.user.id}`);
    await admin.client.get('/users/me?search=secret-query');
    await new Client(app.url).get('/users/me');
    await admin.client.get('/made-up/secret-path');
    await admin.client.send('REPORT', '/users/me');
    await until(async () => (await app.value(requests, { method: '_OTHER' })) === 1);
    expect(await app.value(requests, { method: 'GET', route: '/users/me', status: '200' })).toBe(1);
    expect(await app.value(requests, { method: 'GET', route: '/users/me', status: '422' })).toBe(1);
    expect(await app.value(requests, { method: 'GET', route: '/users/me', status: '401' })).toBe(1);
    expect(await app.value(requests, { method: 'GET', route: '/users/:id', status: '200' })).toBe(1);
    expect(await app.value(requests, { method: 'POST', route: '/auth/sign-up', status: '201' })).toBe(1);
    expect(await app.value(requests, { method: 'GET', route: 'none', status: '404' })).toBe(1);
    expect(await app.value(requests, { method: '_OTHER', route: 'none', status: '405' })).toBe(1);
    const text = await (await fetch(app.metricsUrl)).text();
    for (const secret of ['secret', admin.user.id, admin.company.id, 'example.com']) expect(text).not.toContain(secret);
  });

  it('says of every domain how its event log and its pools are doing', async () => {
    const app = await startMeasured();
    const admin = await signUp(new Client(app.url));
    await join(admin, app.config.dataDir);
    const users = { domain: 'users' };
    await until(async () => (await app.value('hiver_outbox_unpublished', users)) === 0);
    await until(async () => ((await app.value('hiver_events_total', { domain: 'tasks', outcome: 'handled' })) ?? 0) >= 4);
    const samples = await app.samples();
    const domainsOf = (name: string) => samples.filter(sample => sample.name === name).map(({ labels }) => labels.domain);
    const gauges = [
      'database_up',
      'outbox_unpublished',
      'outbox_oldest_seconds',
      'outbox_refused',
      'dead_letters',
      'parked_events',
      'relay_leader',
    ];
    for (const name of gauges)
      expect(domainsOf(`hiver_${name}`).sort()).toEqual([...app.config.services].filter(role => role !== 'api').sort());
    for (const { name, value } of samples) if (['hiver_database_up', 'hiver_relay_leader'].includes(name)) expect(value).toBe(1);
    expect(await app.value('hiver_outbox_oldest_seconds', users)).toBe(0);
    expect(await app.value('hiver_consumer_lag', { domain: 'notifications', topic: 'users' })).toBe(0);
    const pools = samples.filter(({ name, labels }) => name === 'hiver_pool_connections' && labels.domain === 'users');
    expect(new Set(pools.map(({ labels }) => `${labels.pool} ${labels.state}`)).size).toBe(4 * 3);
    expect(pools.some(({ labels, value }) => labels.pool === 'statements' && labels.state === 'idle' && value > 0)).toBe(true);
    expect(await app.value('hiver_build_info', { node: app.config.nodeId })).toBe(1);
    for (const name of ['nodejs_eventloop_lag_p99_seconds', 'nodejs_heap_size_used_bytes', 'process_cpu_seconds_total']) {
      expect(samples.map(sample => sample.name)).toContain(name);
    }
  });

  it('shows what waits and what has failed: outbox, lag, dead letters, refused and parked events', async () => {
    const app = await startMeasured();
    const admin = await signUp(new Client(app.url));
    const idle = () => app.value('hiver_consumer_lag', { domain: 'tasks', topic: 'users' });
    await until(async () => (await idle()) === 0);
    const tasks = await connected(app.config.databaseUrls.tasks);
    await tasks.query('begin; lock table user_infos in access exclusive mode');
    await admin.client.post('/users', { firstName: 'A', lastName: 'B', email: uniqueEmail(), role: 'EMPLOYEE' });
    await until(async () => ((await idle()) ?? 0) > 0);
    await tasks.query('rollback');
    await until(async () => (await idle()) === 0);

    const users = await connected(app.config.databaseUrls.users);
    const row = (seq: string) => `${seq} gen_random_uuid(), 'users.create', 'k', gen_random_uuid(), 1, true, '{}'`;
    await users.query(`insert into outbox_dead (seq, id, topic, key, company_id, version, compacted, envelope, recorded_at, error)
      select ${row('1000000,')}, now(), 'too large'`);
    await users.query(`insert into dead_letters (event_id, service, kind, topic, key, envelope, error, tries)
      values ('e', 'users', 'reaction', 'users.create', 'k', '{}', 'no', 5)`);
    await users.query(`insert into parked_events (event_id, service, topic, key, envelope, waits_for)
      select n, 'users', 'users.create', 'k', '{}', gen_random_uuid() from generate_series(1, 3) as n`);
    for (const [name, count] of [
      ['outbox_refused', 1],
      ['dead_letters', 1],
      ['parked_events', 3],
    ] as const) {
      expect(await app.value(`hiver_${name}`, { domain: 'users' })).toBe(count);
      expect(await app.value(`hiver_${name}`, { domain: 'tasks' })).toBe(0);
    }

    // The relay waits for the row that it changes when it publishes.
    const relay = await connected(app.config.databaseUrls.users);
    await relay.query('begin; select from event_log for update');
    await users.query(`insert into outbox (recorded_at, id, topic, key, company_id, version, compacted, envelope)
      select ${row(`now() - interval '1 hour',`)}`);
    const waiting = () => app.value('hiver_outbox_unpublished', { domain: 'users' });
    expect(await waiting()).toBe(1);
    expect(await app.value('hiver_outbox_oldest_seconds', { domain: 'users' })).toBeCloseTo(3_600, -2);
    await relay.query('rollback');
    await until(async () => (await waiting()) === 0);
    await Promise.all([users.end(), tasks.end(), relay.end()]);
  });

  it('is not held up by a database that is frozen, and says which one', async () => {
    const app = await startMeasured();
    const frozen = await connected(app.config.databaseUrls.presence);
    await until(async () => (await app.value('hiver_database_up', { domain: 'presence' })) === 1);
    await frozen.query('begin; lock table dead_letters in access exclusive mode');
    expect(await app.value('hiver_database_up', { domain: 'presence' })).toBe(0);
    const samples = await app.samples();
    const ofPresence = samples.filter(({ labels }) => labels.domain === 'presence').map(({ name }) => name);
    expect(ofPresence).not.toContain('hiver_dead_letters');
    expect(ofPresence).toContain('hiver_pool_connections');
    for (const { name, labels, value } of samples) {
      if (name === 'hiver_database_up')
        expect([labels.domain, value]).toEqual([labels.domain, labels.domain === 'presence' ? 0 : 1]);
    }
    await frozen.query('rollback');
    await until(async () => (await app.value('hiver_database_up', { domain: 'presence' })) === 1);
    await frozen.end();
  });

  it('says that a database is down that was never there', async () => {
    const { port, close } = await occupyPort();
    close();
    const app = await startMeasured({
      services: ['tasks', 'api'],
      databaseUrls: { tasks: `postgres://x:x@127.0.0.1:${port}/x` },
    });
    expect(await app.value('hiver_database_up', { domain: 'tasks' })).toBe(0);
    expect(await app.value('hiver_outbox_unpublished', { domain: 'tasks' })).toBeUndefined();
  });
});

describe('the port of the metrics', () => {
  it('answers nothing else, and is not the one of the API', async () => {
    const app = await startMeasured({ services: ['api'] });
    const { origin } = new URL(app.metricsUrl);
    for (const path of ['/', '/health/live', '/metrics/x', '/metricsx', '/users/me']) {
      expect((await fetch(origin + path)).status).toBe(404);
    }
    expect((await fetch(app.metricsUrl, { method: 'POST' })).status).toBe(404);
    expect((await new Client(app.url).get('/metrics')).status).toBe(404);
  });

  it('is of one broker only, and closed when that has stopped', async () => {
    const [one, other] = await Promise.all([startMeasured({ services: ['api'] }), startMeasured({ services: ['api'] })]);
    await new Client(one.url).get('/health/live');
    const live = { route: '/health/live' };
    await until(async () => (await one.value(requests, live)) === 1);
    expect(await other.value(requests, live)).toBeUndefined();
    await one.stop();
    await expect(fetch(one.metricsUrl)).rejects.toThrow();
    expect(await other.value('hiver_build_info', { node: other.config.nodeId })).toBe(1);
  });

  it('is named when it is taken, and nothing starts', async () => {
    const { port, close } = await occupyPort();
    await expect(startApp({ services: ['api'], metricsPort: port })).rejects.toThrow(`Port ${port} of the metrics is in use`);
    close();
  });

  it('is not opened, and nothing is measured, unless it is told', async () => {
    const app = await startApp({ services: ['api'] });
    expect(metricsOf(app.broker)).toBeUndefined();
  });
});

async function connected(connectionString: string | undefined): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  return client;
}
