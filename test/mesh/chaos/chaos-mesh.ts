import { execFile } from 'node:child_process';
import { appendFileSync, chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DOMAINS, type Domain } from '../../../mixins/config';
import { readKong } from '../../../scripts/kong/config';
import { type Mesh, startMesh, targetsOf } from '../../../scripts/mesh/mesh';
import { secretsOf } from '../../../scripts/mesh/secrets';
import { startProxy } from '../../../scripts/proxy';
import { freshDatabase } from '../../helpers/database';
import { OwnPostgres } from './own-postgres';
import { Stores } from './stores';

/** A mesh of real processes on databases of its own, all of which may be killed. */
export interface ChaosMesh extends Mesh {
  stores: Stores;
  /** The PostgreSQL of presence alone. */
  postgres: OwnPostgres;
  urls: Record<Domain, string>;
  dataDir: string;
  /** URL of what stands in front of all nodes, as Kong does. */
  front: string;
  /** Runs a command as an operator does, on a node of its own; gives what it printed. */
  operate(command: string): Promise<string>;
}

const execute = promisify(execFile);

/** Starts two nodes of users and presence, and one of each other domain. What they log is kept in `<dataDir>/log`. */
export async function startChaosMesh(brokers: string): Promise<ChaosMesh> {
  const dataDir = mkdtempSync(join(tmpdir(), 'hiver-chaos-'));
  chmodSync(dataDir, 0o711);
  const postgres = await OwnPostgres.start(join(dataDir, 'presence'), 'hiver_presence');
  const shared = DOMAINS.filter(domain => domain !== 'presence');
  const fresh = await Promise.all(shared.map(async domain => [domain, await freshDatabase(domain)] as const));
  const urls = { ...Object.fromEntries(fresh), presence: postgres.url } as Record<Domain, string>;
  const secrets = secretsOf(dataDir);
  const mesh = await startMesh({
    databaseUrls: urls,
    brokers,
    secrets,
    replicas: { users: 2, presence: 2 },
    anyPorts: true,
    environment: { DATA_DIR: dataDir, APP_URL: 'http://localhost:8000', LOG_LEVEL: 'info' },
    onLine: (node, line) => appendFileSync(join(dataDir, 'log'), `${node} ${line}\n`),
  });
  const stores = new Stores(urls, dataDir);
  try {
    await mesh.ready();
  } catch (error) {
    await mesh.stop();
    await postgres.stop();
    throw error;
  }
  const proxy = await startProxy({ config: readKong('kong.yml'), targets: targetsOf(mesh), port: 0 });
  return {
    ...mesh,
    stores,
    postgres,
    urls,
    dataDir,
    front: proxy.url,
    async operate(command) {
      const environment = { KAFKA_BROKERS: brokers, TRANSPORT_KEY: secrets.transportKey, NODE_ID: 'repl', DATA_DIR: dataDir };
      const { stdout } = await execute(process.execPath, ['dist/repl.js', '--exec', command], {
        env: { PATH: process.env.PATH, ...environment },
      });
      return stdout;
    },
    async stop() {
      await proxy.close();
      await mesh.stop();
      await stores.close();
      await postgres.stop();
      if (!process.env.KEEP_CHAOS) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
