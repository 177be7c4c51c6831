/**
 * Joins a running mesh as a node without services, for operators: that of KAFKA_BROKERS and TRANSPORT_KEY, or else the one
 * that `npm run mesh` runs in this folder.
 *
 *     npm run repl                                          a prompt
 *     npm -s run repl -- --exec "events status --json"      one command, for scripts: the exit code says how it went
 *     echo "events verify presence" | npm -s run repl       the same
 */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ServiceBroker } from 'moleculer';
import { type Config, parseConfig } from '../mixins/config';
import { explain, loadEnvFile, onStopSignal } from '../mixins/embedded/lifecycle';
import { StartError } from '../mixins/embedded/start-error';
import { brokerOptions } from '../moleculer.config';
import { operatorName } from '../services/repl/run';
import { runSession } from '../services/repl/session';
import { loadOperatorsFile } from './mesh/operators-file';

const NO_MESH = `There is no mesh to join: KAFKA_BROKERS is not set, and npm run mesh does not run here.
Where everything runs in one process, npm run dev starts it with these commands at its prompt.`;

/**
 * The configuration of a node that has no services: where the mesh is, and what seals its packets. A name that stays the
 * same: Moleculer makes topics for each.
 */
function replConfig(environment: NodeJS.ProcessEnv): Config {
  if (!environment.KAFKA_BROKERS) throw new StartError(NO_MESH);
  const name = `repl-${operatorName()}`.replaceAll(/[^\w-]/g, '-').slice(0, 64);
  const config = parseConfig({
    NODE_ID: name,
    LOG_LEVEL: 'error',
    // Nothing here looks at tokens.
    JWKS_URL: `http://${hostname()}`,
    ...Object.fromEntries(Object.entries(environment).filter(([, value]) => value)),
    HIVER_SERVICES: 'api',
  });
  return { ...config, services: [], metricsPort: undefined };
}

function argumentsOf(): { exec?: string } {
  try {
    return parseArgs({ options: { exec: { type: 'string' } } }).values;
  } catch (error) {
    throw new StartError(`${(error as Error).message}\nUsage: npm run repl [-- --exec "<command>"]`);
  }
}

async function main(): Promise<void> {
  const { exec } = argumentsOf();
  loadEnvFile();
  if (!process.env.KAFKA_BROKERS) loadOperatorsFile(resolve(process.env.DATA_DIR || '.data'));
  // What is logged does not stand among the answers.
  const broker = new ServiceBroker(brokerOptions(replConfig(process.env), { log: { to: process.stderr } }));
  onStopSignal(() => broker.stop());
  const isWell = await runSession(broker, { exec });
  if (isWell === undefined) return;
  await broker.stop();
  process.stdout.write('', () => process.exit(isWell ? 0 : 1));
}

main().catch(error => {
  console.error(explain(error));
  process.exit(1);
});
