import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { DOMAINS, type Domain } from '../mixins/config';
import { databaseName, domainUrls } from '../mixins/embedded/embed';
import { startPostgres } from '../mixins/embedded/postgres';
import { type Mesh, startMesh } from '../scripts/mesh/mesh';
import type { NodeProcess } from '../scripts/mesh/node-process';
import { secretsOf } from '../scripts/mesh/secrets';
import { startKafka } from '../test/kafka/broker';
import { cpuTime, memory } from './processes';

/**
 * How fast a fact gets from one service to another over Kafka, and what nodes cost that have nothing to do. A node of
 * users and one of presence, each a process with a database of its own; the idle ones are those of all five domains.
 *
 *     npm run bench:events [-- --rate 200 --duration 15 --backlog 100000 --idle 20]
 *
 * Latency is from the moment in which the client has its 201 to the commit of the row in the other database, by
 * PostgreSQL's own commit timestamps; both are of this machine's clock.
 */
const { values: options } = parseArgs({
  options: {
    rate: { type: 'string', default: '200' },
    duration: { type: 'string', default: '15' },
    backlog: { type: 'string', default: '100000' },
    idle: { type: 'string', default: '20' },
    'skip-build': { type: 'boolean', default: false },
  },
});
const TARGETS = { p50: 5, p99: 25, drain: 10_000, idleCpu: 2, idleMemory: 190 };
const WARM_UP = 3;
const PASSWORD = 'correct horse battery';

const say = (text: string) => console.error(text);
const verdict = (isMet: boolean) => (isMet ? 'met' : 'missed');
const cleanups: (() => unknown)[] = [];

async function cleanUp(): Promise<void> {
  for (let undo = cleanups.pop(); undo; undo = cleanups.pop()) await undo();
}

async function main(): Promise<void> {
  if (!options['skip-build']) spawnSync('npm', ['run', 'build'], { stdio: 'inherit' });
  const dataDir = mkdtempSync(join(tmpdir(), 'hiver-bench-events-'));
  chmodSync(dataDir, 0o711);
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const log = { info: () => undefined, warn: say };
  const settings = { track_commit_timestamp: 'on' };
  const postgres = await startPostgres({ dataDir, databases: DOMAINS.map(databaseName), log, settings });
  cleanups.push(() => postgres.stop());
  const kafka = await startKafka();
  cleanups.push(() => kafka.stop());
  const databaseUrls = domainUrls(postgres, DOMAINS);
  const start = async (domains: readonly Domain[]) => {
    const mesh = await startMesh({
      domains,
      databaseUrls,
      brokers: kafka.brokers,
      secrets: secretsOf(dataDir),
      anyPorts: true,
      environment: { DATA_DIR: dataDir, LOG_LEVEL: 'warn' },
      onLine: (node, line) => say(`${node} ${line}`),
    });
    cleanups.push(() => mesh.stop());
    await mesh.ready();
    return mesh;
  };
  const databases = { users: await connect(databaseUrls.users), presence: await connect(databaseUrls.presence) };

  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node.js ${process.version}\n`);
  const all = await start(DOMAINS);
  console.log(await idle(all));
  await all.stop();
  const two = await start(['users', 'presence']);
  console.log(await latency(two, databases));
  console.log(await drain(two, databases));
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  cleanups.push(() => client.end());
  return client;
}

interface Databases {
  users: pg.Client;
  presence: pg.Client;
}

async function latency(mesh: Mesh, { presence }: Databases): Promise<string> {
  const [node] = mesh.nodesOf('users');
  const rate = Number(options.rate);
  const admin = await post(node, '/auth/sign-up', {
    company: { name: 'Bench', timeZone: 'Europe/Paris' },
    user: { firstName: 'Ada', lastName: 'Bench', email: 'ada@bench.example', password: PASSWORD },
  });
  const answeredAt = new Map<string, number>();
  const total = rate * (WARM_UP + Number(options.duration));
  const under: Promise<void>[] = [];
  const startedAt = performance.now();
  for (let nth = 0; nth < total; nth++) {
    await delay(Math.max(0, startedAt + (nth * 1_000) / rate - performance.now()));
    const body = { firstName: 'Nth', lastName: `Person ${nth}`, email: `person-${nth}@bench.example`, role: 'EMPLOYEE' };
    under.push(
      post(node, '/users', body, admin.accessToken).then(({ id }) => {
        if (nth >= rate * WARM_UP) answeredAt.set(id, performance.timeOrigin + performance.now());
      }),
    );
  }
  await Promise.all(under);
  await arrived(presence, total + 1);
  const { rows } = await presence.query<{ id: string; at: number }>(
    `select id, extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000 as at from user_infos`,
  );
  const waits = rows
    .filter(({ id }) => answeredAt.has(id))
    .map(({ id, at }) => Math.max(0, Number(at) - (answeredAt.get(id) ?? 0)))
    .sort((a, b) => a - b);
  const [p50, p99] = [0.5, 0.99].map(share => waits[Math.floor(waits.length * share)] ?? Number.NaN) as [number, number];
  return (
    `From 201 to the row in presence, ${waits.length} people at ${rate}/s: p50 ${p50.toFixed(1)} ms (<= ${TARGETS.p50}, ` +
    `${verdict(p50 <= TARGETS.p50)}), p99 ${p99.toFixed(1)} ms (<= ${TARGETS.p99}, ${verdict(p99 <= TARGETS.p99)})`
  );
}

/** A consumer that was away finds a backlog; it works it off alone, while nobody else has anything to do. */
async function drain(mesh: Mesh, { users, presence }: Databases): Promise<string> {
  const [consumer] = mesh.nodesOf('presence') as [NodeProcess];
  await consumer.stop();
  const backlog = Number(options.backlog);
  const before = await count(presence);
  const writtenAt = performance.now();
  await users.query(
    `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
     select id, 'users.create', id::text, company_id, 1, true, json_build_object(
       'specversion', '1.0', 'id', gen_random_uuid(), 'source', '/users', 'type', 'users.create', 'subject', id,
       'time', now(), 'datacontenttype', 'application/json', 'dataschema', 'urn:hiver:users.create:1',
       'companyid', company_id, 'version', 1, 'data', json_build_object(
         'id', id, 'companyId', company_id, 'firstName', 'Back', 'lastName', 'Log ' || nth, 'email', nth || '@log.example',
         'role', 'EMPLOYEE', 'status', 'INVITED', 'teamIds', '[]'::json, 'pictureUrl', null, 'phone', null,
         'timeZone', 'Europe/Paris', 'locale', 'fr', 'startsOn', null, 'version', 1, 'invite', null))::text
     from (select gen_random_uuid() as id, nth, (select id from companies limit 1) as company_id
       from generate_series(1, $1) as nth)`,
    [backlog],
  );
  const recorded = performance.now();
  for (;;) {
    const { rows } = await users.query<{ left: string }>(`select count(*) as left from outbox where published_at is null`);
    if (rows[0]?.left === '0') break;
    await delay(20);
  }
  const published = backlog / ((performance.now() - recorded) / 1_000);
  say(`Recorded in ${((recorded - writtenAt) / 1_000).toFixed(1)} s`);
  consumer.start();
  await arrived(presence, before + backlog);
  const { rows } = await presence.query<{ seconds: string }>(
    `select extract(epoch from max(at) - min(at)) as seconds
     from (select pg_xact_commit_timestamp(xmin) as at from user_infos where first_name = 'Back')`,
  );
  const drained = backlog / Number(rows[0]?.seconds);
  return (
    `${backlog} events: published at ${published.toFixed(0)}/s; drained by a consumer that was away at ` +
    `${drained.toFixed(0)}/s (>= ${TARGETS.drain}, ${verdict(drained >= TARGETS.drain)})`
  );
}

async function idle(mesh: Mesh): Promise<string> {
  const seconds = Number(options.idle);
  await delay(5_000);
  const before = mesh.nodes.map(({ pid }) => cpuTime(pid));
  await delay(seconds * 1_000);
  const lines = mesh.nodes.map(({ name, pid }, nth) => {
    const cpu = (cpuTime(pid) - (before[nth] ?? 0)) / seconds / 10_000;
    const megabytes = memory(pid);
    return (
      `  ${name.padEnd(18)} ${cpu.toFixed(2)} % of a core (<= ${TARGETS.idleCpu}, ${verdict(cpu <= TARGETS.idleCpu)}), ` +
      `${megabytes.toFixed(0)} MB (<= ${TARGETS.idleMemory}, ${verdict(megabytes <= TARGETS.idleMemory)})`
    );
  });
  return ['Idle nodes:', ...lines].join('\n');
}

async function arrived(presence: pg.Client, expected: number): Promise<void> {
  for (const deadline = Date.now() + 120_000; (await count(presence)) < expected; await delay(50)) {
    if (Date.now() > deadline) throw new Error('Not all of them arrived within two minutes');
  }
}

async function count(presence: pg.Client): Promise<number> {
  const { rows } = await presence.query<{ count: string }>('select count(*) from user_infos');
  return Number(rows[0]?.count);
}

async function post(node: NodeProcess | undefined, path: string, body: object, token?: string) {
  const response = await fetch(`${node?.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { id: string; accessToken: string };
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return answer;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(130)));
}
main()
  .catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  })
  .finally(cleanUp);
