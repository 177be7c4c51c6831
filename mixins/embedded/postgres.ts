import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { type Binaries, findBinaries } from './binaries';
import { prepareCluster, SUPERUSER } from './cluster';
import { freePort } from './free-port';
import { commandOf, folderOf, hasEnded, isKnown, signal } from './processes';
import { StartError } from './start-error';
import { assertReachable, chooseUser, type SystemUser } from './system-user';

export interface PostgresOptions {
  /** Exists, belongs to this process (`lockDataFolder`); the cluster is its folder `postgres`. */
  dataDir: string;
  /** Names of the databases to make where they are missing. */
  databases: readonly string[];
  log: { info(message: string): void; warn(message: string): void };
  /** Survives a power failure. Tests do without. */
  durable?: boolean;
  /** Where it listens, if that is to be the same again; a free one unless told. */
  port?: number;
  /** Further settings of the server. */
  settings?: Readonly<Record<string, string>>;
}

export interface RunningPostgres {
  /** URL of each database by its name. */
  urls: Record<string, string>;
  /** URL of the superuser's own database. */
  adminUrl: string;
  pid: number;
  /** Ends it: clean within 3 s, else at once. Never rejects. */
  stop(): Promise<void>;
}

/** Five databases, several processes in tests, two pools and a listener each: the default of 100 is soon gone. */
const MAX_CONNECTIONS = 300;
const START_TIMEOUT = 30_000;
const STOP_TIMEOUT = 3_000;
const ORPHAN_TIMEOUT = 20_000;
const PORT_ATTEMPTS = 5;

/**
 * Starts a real PostgreSQL on a free port of 127.0.0.1, in a process group of its own, so that Ctrl-C does not reach
 * it before we are done with it. Makes the cluster and the databases where they are missing; stops a PostgreSQL that a
 * killed process left behind; restarts one that dies.
 * @throws {StartError} saying what is in the way
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const server = new Server(options);
  try {
    await server.start();
    return await server.withDatabases();
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/**
 * Stops the PostgreSQL that a killed process left running on a cluster, and removes the file that says that it runs
 * where its process id belongs to another process by now.
 */
export async function stopOrphan(clusterDir: string): Promise<boolean> {
  const pidFile = join(clusterDir, 'postmaster.pid');
  const pid = Number.parseInt(readText(pidFile), 10);
  if (!(pid > 0) || !isKnown(pid)) return false; // PostgreSQL itself sees to the file of a process that is gone
  if (!isPostgresOf(clusterDir, pid)) {
    rmSync(pidFile);
    return false;
  }
  // Fast shutdown; then an immediate one, which PostgreSQL recovers from.
  for (const [name, timeout] of [
    ['SIGINT', ORPHAN_TIMEOUT],
    ['SIGQUIT', ORPHAN_TIMEOUT],
  ] as const) {
    if (!signal(pid, name) || (await hasEnded(pid, timeout))) return true;
  }
  throw new StartError(`PostgreSQL of an earlier run does not end (process ${pid}).\nEnd it with: kill -9 ${pid}`);
}

/** By its command line, or, where the folder was named in another way, by where it works. */
function isPostgresOf(clusterDir: string, pid: number): boolean {
  const command = commandOf(pid);
  return command.includes('postgres') && (command.includes(clusterDir) || folderOf(pid) === realpathSync(clusterDir));
}

class Server {
  readonly #options: PostgresOptions;
  readonly #binaries: Binaries = findBinaries();
  readonly #clusterDir: string;
  readonly #user: SystemUser;
  readonly #logFile: string;
  #password = '';
  #port = 0;
  #process: ChildProcess | undefined;
  #isStopping = false;

  constructor(options: PostgresOptions) {
    this.#options = options;
    this.#clusterDir = join(options.dataDir, 'postgres');
    this.#logFile = join(options.dataDir, 'postgres.log');
    this.#user = chooseUser(this.#clusterDir);
  }

  async start(): Promise<void> {
    const { dataDir, durable = true, log } = this.#options;
    assertReachable([dataDir, this.#binaries.postgres], this.#user);
    if (await stopOrphan(this.#clusterDir)) log.warn('Stopped the PostgreSQL of a run that was killed');
    this.#password = await prepareCluster({
      dataDir,
      clusterDir: this.#clusterDir,
      binaries: this.#binaries,
      user: this.#user,
      durable,
    });
    if (existsSync(this.#logFile)) renameSync(this.#logFile, `${this.#logFile}.previous`);
    for (let attempt = 1; ; attempt++) {
      this.#port = this.#options.port ?? (await freePort());
      try {
        return await this.#launch();
      } catch (error) {
        // The port was taken in the meantime, or the last backends of a killed PostgreSQL still hold its memory.
        const isPassing = /Address already in use|shared memory block .* still in use/.test(readText(this.#logFile));
        if (!isPassing || attempt >= PORT_ATTEMPTS) throw error;
        await delay(500 * attempt);
      }
    }
  }

  async withDatabases(): Promise<RunningPostgres> {
    const adminUrl = this.#urlOf('postgres');
    const client = new pg.Client({ connectionString: adminUrl, connectionTimeoutMillis: 5_000 });
    await client.connect();
    try {
      const { rows } = await client.query<{ datname: string }>('select datname from pg_database');
      const known = new Set(rows.map(row => row.datname));
      for (const name of this.#options.databases.filter(name => !known.has(name))) {
        await client.query(`create database ${pg.escapeIdentifier(name)}`);
      }
    } finally {
      await client.end();
    }
    const urls = Object.fromEntries(this.#options.databases.map(name => [name, this.#urlOf(name)]));
    const stop = () => this.stop();
    return { urls, adminUrl, pid: this.#process?.pid ?? 0, stop };
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const child = this.#process;
    process.off('exit', this.#atExit);
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
    child.ref();
    child.kill('SIGINT');
    const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT);
    await ended;
    clearTimeout(timer);
  }

  #urlOf(database: string): string {
    return `postgres://${SUPERUSER}:${this.#password}@127.0.0.1:${this.#port}/${encodeURIComponent(database)}`;
  }

  async #launch(): Promise<void> {
    const log = openSync(this.#logFile, 'a', 0o600);
    const child = spawn(this.#binaries.postgres, ['-D', this.#clusterDir, '-p', String(this.#port), ...this.#settings()], {
      ...this.#user,
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    });
    closeSync(log);
    child.on('error', () => undefined); // seen as an exit below
    this.#process = child;
    // Whatever ends this process without stop(): nothing is left running.
    process.off('exit', this.#atExit).once('exit', this.#atExit);
    await this.#isUp(child);
    child.unref();
    child.once('exit', () => void this.#restart());
  }

  /** PostgreSQL writes `ready` into the eighth line of postmaster.pid once it accepts connections. */
  async #isUp(child: ChildProcess): Promise<void> {
    const pidFile = join(this.#clusterDir, 'postmaster.pid');
    for (const deadline = Date.now() + START_TIMEOUT; ; await delay(10)) {
      const lines = readText(pidFile).split('\n');
      if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return;
      const hasFailed = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
      if (!hasFailed && Date.now() < deadline) continue;
      child.kill('SIGQUIT');
      throw new StartError(`PostgreSQL does not start: ${lastWords(this.#logFile)}\nIts log is ${this.#logFile}`);
    }
  }

  /** On the same port: whoever holds its URL finds it again. */
  async #restart(): Promise<void> {
    for (let pause = 250; !this.#isStopping; pause = Math.min(pause * 2, 10_000)) {
      this.#options.log.warn(`PostgreSQL ended by itself; starting it again. Its log is ${this.#logFile}`);
      await delay(pause, undefined, { ref: false });
      if (this.#isStopping) return;
      try {
        return await this.#launch();
      } catch (error) {
        this.#options.log.warn((error as Error).message);
      }
    }
  }

  readonly #atExit = (): void => {
    this.#isStopping = true;
    if (this.#process?.pid && this.#process.exitCode === null) signal(this.#process.pid, 'SIGINT');
  };

  #settings(): string[] {
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: MAX_CONNECTIONS,
      timezone: 'UTC',
      log_timezone: 'UTC',
      // Statements and the details of constraint violations hold people's data.
      log_error_verbosity: 'terse',
      log_min_error_statement: 'panic',
      ...(this.#options.durable === false && { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
      ...this.#options.settings,
    };
    return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function lastWords(logFile: string): string {
  const complaints = readText(logFile)
    .split('\n')
    .filter(line => /FATAL|PANIC|ERROR|could not/.test(line));
  return (complaints.at(-1) ?? 'it says nothing').replace(/^.*?(FATAL|PANIC|ERROR):\s*/, '');
}
