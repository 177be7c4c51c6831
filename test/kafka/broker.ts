import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../mixins/embedded/free-port';
import { commandOf, hasEnded, isAlive, signal, startOf } from '../../mixins/embedded/processes';
import { fetchJars, HERE } from './jars';
import { serverProperties } from './properties';

const run = promisify(execFile);
const PREFIX = 'hiver-kafka-';
const CLUSTER_ID = 'MkU3OEVBNTcwNTJENDM2Qg';
const START_TIMEOUT = 60_000;
const STOP_TIMEOUT = 20_000;

/** A Kafka broker of its own, on 127.0.0.1. */
export interface KafkaProcess {
  /** `127.0.0.1:<port>` */
  brokers: string;
  /** Where it keeps what it was sent. */
  dataFolder: string;
  /** Ends it in order and removes what it kept. */
  stop(): Promise<void>;
  /** Ends it as a power cut does; `restart` brings it back with what it kept. */
  kill(): Promise<void>;
  /** Starts it again on the same port, ended in order before if it still runs. */
  restart(): Promise<void>;
}

/**
 * Starts Apache Kafka on free ports; resolves when it can be used.
 * @param options `port` for clients, where it is to be known beforehand; `folder` that keeps what it holds: without,
 * a temporary one goes at the end
 */
export async function startKafka(options: { port?: number; folder?: string } = {}): Promise<KafkaProcess> {
  await removeAbandoned();
  const jars = await fetchJars();
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), PREFIX));
  mkdirSync(folder, { recursive: true });
  await endAbandoned(folder);
  const owner = { pid: process.pid, start: startOf(process.pid) };
  writeFileSync(join(folder, 'owner'), JSON.stringify(owner));
  const ports = { broker: options.port ?? (await freePort()), controller: await freePort() };
  writeFileSync(join(folder, 'server.properties'), serverProperties(ports, join(folder, 'data')));
  const java = new Java(jars, folder);
  if (!existsSync(join(folder, 'data', 'meta.properties'))) await java.format();
  await java.start();
  return {
    brokers: `127.0.0.1:${ports.broker}`,
    dataFolder: join(folder, 'data'),
    kill: () => java.end('SIGKILL'),
    async restart() {
      await java.end('SIGTERM');
      await java.start();
    },
    async stop() {
      await java.end('SIGTERM');
      if (!options.folder) rmSync(folder, { recursive: true, force: true });
    },
  };
}

class Java {
  #pid = 0;

  constructor(
    private readonly jars: string,
    private readonly folder: string,
  ) {}

  /** Gives an empty folder its identity. */
  async format(): Promise<void> {
    const arguments_ = ['format', '--standalone', '-t', CLUSTER_ID, '-c', join(this.folder, 'server.properties')];
    await run('java', ['-Xmx128m', ...this.#options(), 'kafka.tools.StorageTool', ...arguments_]);
  }

  async start(): Promise<void> {
    const file = join(this.folder, 'log');
    const log = openSync(file, 'w');
    const child = spawn(
      'java',
      ['-Xms128m', '-Xmx384m', ...this.#archive(), ...this.#options(), 'kafka.Kafka', join(this.folder, 'server.properties')],
      // Not in the group that a terminal's Ctrl-C goes to: it is stopped by whoever started it, last of all.
      { detached: true, stdio: ['ignore', log, log] },
    );
    closeSync(log);
    await once(child, 'spawn');
    child.unref();
    this.#pid = child.pid ?? 0;
    writeFileSync(join(this.folder, 'pid'), String(this.#pid));
    for (const deadline = Date.now() + START_TIMEOUT; ; await delay(50)) {
      if (readFileSync(file, 'utf8').includes('Kafka Server started')) return;
      if (child.exitCode === null && Date.now() < deadline) continue;
      await this.end('SIGKILL');
      throw new Error(`Kafka does not start:\n${readFileSync(file, 'utf8').slice(-4_000)}`);
    }
  }

  async end(name: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#pid === 0) return;
    const pid = this.#pid;
    this.#pid = 0;
    signal(pid, name);
    if (!(await hasEnded(pid, STOP_TIMEOUT))) {
      signal(pid, 'SIGKILL');
      await hasEnded(pid, STOP_TIMEOUT);
    }
    const written = join(this.folder, 'classes.jsa');
    if (existsSync(written) && !existsSync(this.#sharedClasses)) renameSync(written, this.#sharedClasses);
  }

  get #sharedClasses(): string {
    return join(this.jars, 'classes.jsa');
  }

  /** Classes as they are in memory, written at the first orderly end: with them it starts in a third of the time. */
  #archive(): string[] {
    if (existsSync(this.#sharedClasses)) return [`-XX:SharedArchiveFile=${this.#sharedClasses}`, '-Xshare:auto'];
    return [`-XX:ArchiveClassesAtExit=${join(this.folder, 'classes.jsa')}`];
  }

  #options(): string[] {
    return [
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      '-Djava.awt.headless=true',
      `-Dlog4j2.configurationFile=${join(HERE, 'log4j2.yaml')}`,
      '-Dlog4j2.shutdownHookEnabled=false',
      '-cp',
      `${join(this.jars, 'libs')}/*`,
    ];
  }
}

/** A run that was killed leaves its broker behind. */
async function removeAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter(name => name.startsWith(PREFIX))) {
    const folder = join(tmpdir(), name);
    if (isOwned(folder)) continue;
    await endAbandoned(folder);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function endAbandoned(folder: string): Promise<void> {
  const pid = Number(read(folder, 'pid'));
  // Ids are given out again.
  if (!(pid > 0 && isAlive(pid) && commandOf(pid).includes(folder))) return;
  signal(pid, 'SIGKILL');
  await hasEnded(pid, STOP_TIMEOUT);
}

function isOwned(folder: string): boolean {
  const text = read(folder, 'owner');
  // Its owner is about to say who it is.
  if (text === '') return existsSync(folder) && !existsSync(join(folder, 'pid'));
  const { pid, start } = JSON.parse(text) as { pid: number; start?: string };
  return isAlive(pid) && startOf(pid) === start;
}

function read(folder: string, name: string): string {
  try {
    return readFileSync(join(folder, name), 'utf8');
  } catch {
    return '';
  }
}
