import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../mixins/embedded/free-port';
import { commandOf, hasEnded, isAlive, signal, startOf } from '../../mixins/embedded/processes';
import { fetchJars } from './jars';
import { Java, STOP_TIMEOUT } from './java';
import { serverProperties } from './properties';
import { makeSecurity } from './security';

const PREFIX = 'hiver-kafka-';

/** A Kafka broker of its own, on 127.0.0.1. */
export interface KafkaProcess {
  /** `127.0.0.1:<port>` */
  brokers: string;
  /** The same over TLS, for whoever says who they are; only where that was asked for. */
  secured?: SecuredAccess;
  /** Where it keeps what it was sent. */
  dataFolder: string;
  /** Ends it in order and removes what it kept. */
  stop(): Promise<void>;
  /** Ends it as a power cut does; `restart` brings it back with what it kept. */
  kill(): Promise<void>;
  /** Starts it again on the same port, ended in order before if it still runs. */
  restart(): Promise<void>;
}

export interface SecuredAccess {
  brokers: string;
  /** Certificate that vouches for the broker, PEM. It is good for 127.0.0.1 only. */
  ca: string;
  /** Known by PLAIN and SCRAM. */
  username: string;
  password: string;
}

/**
 * Starts Apache Kafka on free ports; resolves when it can be used.
 * @param options `port` for clients, where it is to be known beforehand; `isSecured` for a second one, with TLS and SASL;
 * `folder` that keeps what it holds: without, a temporary one goes at the end
 */
export async function startKafka(options: { port?: number; isSecured?: boolean; folder?: string } = {}): Promise<KafkaProcess> {
  const jars = await fetchJars();
  const folder = options.folder ?? (await temporaryFolder());
  mkdirSync(folder, { recursive: true });
  await endAbandoned(folder);
  const ports = {
    broker: options.port ?? (await freePort()),
    controller: await freePort(),
    ...(options.isSecured && { secured: await freePort() }),
  };
  const security = options.isSecured ? await makeSecurity(folder) : undefined;
  writeFileSync(join(folder, 'server.properties'), serverProperties(ports, join(folder, 'data'), security));
  const java = new Java(jars, folder);
  if (!existsSync(join(folder, 'data', 'meta.properties'))) await java.format({ isAlone: true, known: security });
  await java.start();
  return {
    brokers: `127.0.0.1:${ports.broker}`,
    secured: security && { ...security, brokers: `127.0.0.1:${ports.secured}` },
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

/** A folder for one server of this process, which is found and removed should this process be killed. */
export async function temporaryFolder(): Promise<string> {
  await removeAbandoned();
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(folder, 'owner'), JSON.stringify({ pid: process.pid, start: startOf(process.pid) }));
  return folder;
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
