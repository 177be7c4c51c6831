import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where `npm run mesh` leaves what an operator's node needs to join it. */
const pathOf = (dataDir: string) => join(dataDir, 'mesh', 'operators.env');

/** Lets `npm run repl` in the same folder find the mesh; returns what takes that back. */
export function writeOperatorsFile(dataDir: string, variables: { KAFKA_BROKERS: string; TRANSPORT_KEY: string }): () => void {
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
  rmSync(pathOf(dataDir), { force: true });
  writeFileSync(pathOf(dataDir), lines.join(''), { mode: 0o600 });
  return () => rmSync(pathOf(dataDir), { force: true });
}

/** Adds what the mesh of this folder has left to the environment, if there is one. */
export function loadOperatorsFile(dataDir: string): void {
  if (existsSync(pathOf(dataDir))) process.loadEnvFile(pathOf(dataDir));
}
