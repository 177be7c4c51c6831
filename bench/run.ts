import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { type RunningPostgres, startPostgres } from '../mixins/embedded/postgres';
import { PROGRAM } from '../scripts/program';
import { compare } from './check';
import { load, measure, type ServerMeasurement } from './load';
import { canPin, confine, leaveServerCore, memory, type Server, settle, startServer } from './processes';
import { type Comparison, median, refusalsOf, tableOf } from './report';
import { assemble, type Cast, SCENARIOS, type Scenario } from './scenarios';
import { seed } from './seed';

/**
 * Puts load on the built application and, in turn with it, on `bare.mjs`: what one Node.js process can do with
 * `node:http` and `pg` alone. Both work on the same rows of the same PostgreSQL.
 *
 *     npm run bench [-- --rounds 5 --duration 3 --warmup 1 --connections 32 --login-connections 8 --only users/me]
 *     npm run bench -- --check      only makes sure that both do the same work
 *
 * New people are told of to the other services, as always, but their mails wait, as they do while a mail server is
 * down: the bare server sends none either. `--mails` has them written to files.
 */
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    duration: { type: 'string', default: '3' },
    warmup: { type: 'string', default: '1' },
    connections: { type: 'string', default: '32' },
    'login-connections': { type: 'string', default: '8' },
    only: { type: 'string', default: '' },
    check: { type: 'boolean', default: false },
    mails: { type: 'boolean', default: false },
    'skip-build': { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const duration = Number(options.duration);
const warmup = Number(options.warmup);

const root = join(__dirname, '..');
const BARE_ARGS = [join(root, 'bench/bare.mjs')];
/** The discard port, where nobody listens. */
const NO_MAIL_SERVER = 'smtp://127.0.0.1:9';
const USERS = 'hiver_users';
const NOTIFICATIONS = 'hiver_notifications';
const COPY = 'bare_users';

interface Pair {
  app: Server;
  bare: Server;
}
type Casts = { app: Cast; bare: Cast };
const SIDES = ['app', 'bare'] as const;

const say = (text: string) => console.error(text);

/** Undone in reverse order, whatever happens. */
const cleanups: (() => unknown)[] = [];
let cleaning: Promise<void> | undefined;
function cleanUp(): Promise<void> {
  cleaning ??= (async () => {
    for (let undo = cleanups.pop(); undo; undo = cleanups.pop()) await undo();
  })();
  return cleaning;
}

function build(): void {
  say('Building …');
  const { status } = spawnSync('npm', ['run', 'build'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error('npm run build failed');
}

/** @returns URL of the copy that the bare server works on */
async function prepareDatabases(postgres: RunningPostgres): Promise<string> {
  say('Migrating and seeding …');
  await seed(postgres.urls[USERS] ?? '');
  const admin = new pg.Client({ connectionString: postgres.adminUrl });
  await admin.connect();
  try {
    await admin.query(`create database ${COPY} template ${USERS}`);
    await admin.query('checkpoint');
  } finally {
    await admin.end();
  }
  const url = new URL(postgres.adminUrl);
  url.pathname = COPY;
  return url.href;
}

async function measureBoth(scenario: Scenario, round: number, servers: Pair, casts: Casts): Promise<Comparison> {
  const connections = Number(scenario.isLogin ? options['login-connections'] : options.connections);
  const one = async (side: 'app' | 'bare'): Promise<ServerMeasurement> => {
    const requestsOf = (connection: number) => scenario.requestsOf(casts[side], connection);
    const server = servers[side];
    await load({ server, requestsOf, connections, duration: warmup });
    await settle([servers.app, servers.bare]);
    return measure({ server, requestsOf, connections, duration });
  };
  // Who goes first alternates: what drifts during a run falls on both.
  const order = round % 2 === 1 ? SIDES : SIDES.toReversed();
  const measured = {} as Record<'app' | 'bare', ServerMeasurement>;
  for (const side of order) measured[side] = await one(side);
  const cpu = (side: 'app' | 'bare') => `${measured[side].cpu.toFixed(0)} µs`;
  say(`  round ${round}, ${scenario.name}: hiver ${cpu('app')}, bare ${cpu('bare')}`);
  return { scenario, round, ...measured };
}

async function runRounds(scenarios: readonly Scenario[], servers: Pair): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (let round = 1; scenarios.length > 0 && round <= rounds; round++) {
    // Tokens live 15 minutes: each round signs in anew.
    const casts = { app: await assemble(servers.app), bare: await assemble(servers.bare) };
    for (const scenario of scenarios) comparisons.push(await measureBoth(scenario, round, servers, casts));
  }
  return comparisons;
}

/** How reads fare while fifty people sign in at once, on all cores. */
async function reportStorm(app: Server): Promise<string> {
  const cast = await assemble(app);
  const [reads, logins] = ['GET /users/me', 'POST /auth/login'].map(name => SCENARIOS.find(scenario => scenario.name === name));
  if (!reads || !logins) throw new Error('The scenarios of the storm are gone');
  const read = () =>
    load({ server: app, requestsOf: n => reads.requestsOf(cast, n), connections: 4, rate: 200, duration: Math.max(duration, 3) });
  const storm = () =>
    load({ server: app, requestsOf: n => logins.requestsOf(cast, n), connections: 50, duration: Math.max(duration, 3) + 1 });
  confine(app, false);
  const trials: { idle: number; busy: number; perSecond: number; refused: number }[] = [];
  await read();
  for (let trial = 0; trial < 3; trial++) {
    await settle([app]);
    const idle = await read();
    const [signedIn, busy] = await Promise.all([storm(), read()]);
    const refused = Object.values(signedIn.refused).reduce((sum, count) => sum + count, 0);
    trials.push({ idle: idle.p99, busy: busy.p99, perSecond: signedIn.perSecond, refused });
  }
  confine(app, true);
  const middle = (key: 'idle' | 'busy' | 'perSecond' | 'refused') => median(trials.map(trial => trial[key]));
  const ratio = median(trials.map(({ idle, busy }) => busy / idle));
  return (
    `GET /users/me during 50 logins at once: p99 ${middle('busy').toFixed(2)} ms, idle ${middle('idle').toFixed(2)} ms, ` +
    `ratio ${ratio.toFixed(2)} (<= 3, ${ratio <= 3 ? 'met' : 'missed'}); ` +
    `${middle('perSecond').toFixed(0)} logins/s, ${middle('refused').toFixed(0)} of them refused`
  );
}

function reportMemory(atStart: Record<'app' | 'bare', number>, comparisons: readonly Comparison[]): string {
  const peak = (side: 'app' | 'bare', wanted: (round: number) => boolean) =>
    Math.max(...comparisons.filter(({ round }) => wanted(round)).map(comparison => comparison[side].peakMemory)).toFixed(0);
  const line = (side: 'app' | 'bare') =>
    `${atStart[side].toFixed(0)} MB after start, under load without logins ${peak(side, () => true)} MB ` +
    `(first round ${peak(side, round => round === 1)}, last ${peak(side, round => round === rounds)})`;
  return `Memory: hiver ${line('app')} (targets 180 and 240); bare ${line('bare')}`;
}

async function main(): Promise<void> {
  if (!options['skip-build']) build();
  leaveServerCore();
  const dataDir = mkdtempSync(join(tmpdir(), 'hiver-bench-'));
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }));
  chmodSync(dataDir, 0o711); // PostgreSQL may run as another user
  const log = { info: () => undefined, warn: say };
  const postgres = await startPostgres({ dataDir, databases: [USERS, NOTIFICATIONS], log });
  cleanups.push(() => postgres.stop());

  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const secrets = {
    JWT_PRIVATE_KEYS: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    SEAL_KEYS: `bench:${randomBytes(32).toString('base64url')}`,
  };
  const start = async (name: string, args: readonly string[], environment: Record<string, string>) => {
    const logFile = join(dataDir, `${name}.log`);
    const server = await startServer({
      name,
      args,
      environment: { ...secrets, ...environment },
      readyPath: '/health/ready',
      logFile,
    });
    cleanups.push(() => server.stop());
    return server;
  };
  const copyUrl = await prepareDatabases(postgres);
  const databases = {
    DATABASE_URL_USERS: postgres.urls[USERS] ?? '',
    DATABASE_URL_NOTIFICATIONS: postgres.urls[NOTIFICATIONS] ?? '',
  };
  const mails: Record<string, string> = options.mails ? {} : { SMTP_URL: NO_MAIL_SERVER };
  const app = await start('hiver', PROGRAM, { DATA_DIR: join(dataDir, 'app'), ...databases, ...mails });
  const servers = { app, bare: await start('bare', BARE_ARGS, { DATABASE_URL_USERS: copyUrl }) };
  await settle([servers.app, servers.bare]);
  const atStart = { app: memory(servers.app.pid), bare: memory(servers.bare.pid) };

  say('Checking that both do the same work …');
  const differences = await compare(
    { server: servers.app, cast: await assemble(servers.app), databaseUrl: postgres.urls[USERS] ?? '' },
    { server: servers.bare, cast: await assemble(servers.bare), databaseUrl: copyUrl },
  );
  if (differences.length > 0) throw new Error(`hiver and bare differ:\n${differences.join('\n')}`);
  if (options.check) return say('Both do the same work.');

  const wanted = SCENARIOS.filter(({ name }) => name.includes(options.only));
  // Logins last: what argon2 takes belongs to no other scenario's memory.
  const others = await runRounds(
    wanted.filter(({ isLogin }) => !isLogin),
    servers,
  );
  const logins = await runRounds(
    wanted.filter(({ isLogin }) => isLogin),
    servers,
  );
  const comparisons = [...others, ...logins];
  const place = canPin ? 'servers on the first core, load and PostgreSQL on the others' : 'nothing pinned';
  console.log(
    `${cpus().length} x ${cpus()[0]?.model}, Node.js ${process.version}; ${place}; median of ${rounds} rounds of ${duration} s\n`,
  );
  console.log(tableOf(comparisons));
  console.log(`\nFirst answer ${servers.app.startTime.toFixed(0)} ms after start, bare ${servers.bare.startTime.toFixed(0)} ms`);
  if (others.length > 0) console.log(reportMemory(atStart, others));
  if (!options.only) console.log(await reportStorm(servers.app));
  const refusals = refusalsOf(comparisons);
  if (refusals.length > 0) throw new Error(`Not every request was answered:\n${refusals.join('\n')}`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(130)));
}
main()
  .catch((error: Error) => {
    if (cleaning) return; // interrupted: the servers went away under it
    console.error(error.message);
    process.exitCode = 1;
  })
  .finally(cleanUp);
