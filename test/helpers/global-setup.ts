import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { lockDataFolder } from '../../mixins/embedded/lock';
import { startPostgres, stopOrphan } from '../../mixins/embedded/postgres';
import { isAlive } from '../../mixins/embedded/processes';
import { offerKafka } from '../kafka/offer';

declare module 'vitest' {
  interface ProvidedContext {
    /** Superuser's URL of the PostgreSQL of this run. */
    adminUrl: string;
    /** Asked for, it starts the Kafka of this run and names its brokers. */
    kafkaUrl: string;
  }
}

const PREFIX = 'hiver-test-';
const silent = { info() {}, warn() {} };

/** One PostgreSQL for the whole run, in a folder of its own that goes at the end; and one Kafka, if a test asks for it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeAbandoned();
  const dataDir = mkdtempSync(join(tmpdir(), PREFIX));
  chmodSync(dataDir, 0o711);
  const unlock = lockDataFolder(dataDir);
  const postgres = await startPostgres({ dataDir, databases: [], log: silent, durable: false });
  project.provide('adminUrl', postgres.adminUrl);
  const kafka = await offerKafka();
  project.provide('kafkaUrl', kafka.url);
  return async () => {
    await kafka.close();
    await postgres.stop();
    unlock();
    rmSync(dataDir, { recursive: true, force: true });
  };
}

/** A run that was killed leaves its PostgreSQL behind. */
async function removeAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter(name => name.startsWith(PREFIX))) {
    const dataDir = join(tmpdir(), name);
    if (isOwned(dataDir)) continue;
    await stopOrphan(join(dataDir, 'postgres'));
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function isOwned(dataDir: string): boolean {
  try {
    return isAlive((JSON.parse(readFileSync(join(dataDir, 'lock'), 'utf8')) as { pid: number }).pid);
  } catch {
    return false;
  }
}
