/**
 * The whole system without Docker: PostgreSQL, Kafka, a node for each domain as a process of its own, and a proxy that
 * follows kong.yml in front of them. For development.
 *
 *     npm run mesh [-- --replicas presence=2,users=2] [--any-ports]
 */
import { join, relative } from 'node:path';
import { DOMAINS, parseConfig } from '../mixins/config';
import { databaseName, domainUrls, makeWritable } from '../mixins/embedded/embed';
import { assertPortIsFree, freePort } from '../mixins/embedded/free-port';
import { explain, loadEnvFile } from '../mixins/embedded/lifecycle';
import { lockDataFolder } from '../mixins/embedded/lock';
import { startPostgres } from '../mixins/embedded/postgres';
import { StartError } from '../mixins/embedded/start-error';
import { startKafka } from '../test/kafka/broker';
import { obstacleToKafka } from '../test/kafka/jars';
import { readKong } from './kong/config';
import { withOrigins } from './kong/gateway';
import { type Mesh, portsOf, startMesh, targetsOf } from './mesh/mesh';
import { writeOperatorsFile } from './mesh/operators-file';
import { meshArguments } from './mesh/options';
import { Output } from './mesh/output';
import { secretsOf } from './mesh/secrets';
import { startProxy } from './proxy';

const RESTART_AFTER = 1_000;
const PROXY_PORT = 8000;

let isStopping = false;
/** Undone in reverse. */
const undo: (() => Promise<unknown>)[] = [];

async function main(): Promise<void> {
  loadEnvFile();
  const { replicas, anyPorts } = meshArguments(process.argv.slice(2));
  const { dataDir: parent, smtpUrl, corsOrigins, logLevel } = parseConfig({ ...process.env, HIVER_SERVICES: undefined });
  const dataDir = join(parent, 'mesh');
  makeWritable(dataDir);
  const unlock = lockDataFolder(dataDir);
  undo.push(async () => unlock());
  const output = new Output();
  const proxyPort = anyPorts ? await freePort() : PROXY_PORT;
  if (!anyPorts) for (const port of [PROXY_PORT, ...portsOf(replicas)]) await assertPortIsFree(port, '127.0.0.1');

  const log = { info: (text: string) => output.say('postgres', text), warn: (text: string) => output.say('postgres', text) };
  const postgres = await startPostgres({ dataDir, databases: DOMAINS.map(databaseName), log });
  undo.push(() => postgres.stop());
  output.say('postgres', 'runs');

  const brokers = process.env.KAFKA_BROKERS || (await ownKafka(join(dataDir, 'kafka')));
  output.say('kafka', `listens on ${brokers}`);

  const secrets = secretsOf(dataDir);
  const forget = writeOperatorsFile(parent, { KAFKA_BROKERS: brokers, TRANSPORT_KEY: secrets.transportKey });
  undo.push(async () => forget());
  const mesh = await startMesh({
    databaseUrls: domainUrls(postgres, DOMAINS),
    brokers,
    secrets,
    replicas,
    anyPorts,
    environment: {
      DATA_DIR: dataDir,
      APP_URL: process.env.APP_URL ?? `http://localhost:${proxyPort}`,
      TRUSTED_PROXIES: '127.0.0.1',
      LOG_LEVEL: logLevel,
      ...(smtpUrl && { SMTP_URL: smtpUrl }),
    },
    onLine: (node, line) => output.line(node, line),
  });
  undo.push(() => mesh.stop());
  superviseAll(mesh, output);
  const kong = readKong('kong.yml');
  const config = corsOrigins.length > 0 ? withOrigins(kong, corsOrigins) : kong;
  const proxy = await startProxy({ config, targets: targetsOf(mesh), port: proxyPort });
  undo.push(() => proxy.close());
  await mesh.ready();
  process.stdout.write(screen(mesh, proxy.url, dataDir));
}

async function ownKafka(folder: string): Promise<string> {
  const obstacle = obstacleToKafka();
  if (obstacle) throw new StartError(`There is no Kafka: KAFKA_BROKERS is not set, and ${obstacle}.`);
  const kafka = await startKafka({ folder });
  undo.push(() => kafka.stop());
  return kafka.brokers;
}

/** A node that ends by itself is started again, as its supervisor would do elsewhere. */
function superviseAll(mesh: Mesh, output: Output): void {
  for (const node of mesh.nodes) {
    node.onCrash = how => {
      output.say(node.name, `ended (${how}) and is started again`);
      setTimeout(() => isStopping || node.start(), RESTART_AFTER);
    };
  }
}

function screen(mesh: Mesh, front: string, dataDir: string): string {
  const nodes = mesh.nodes.map(({ name, url }) => `    ${name.padEnd(18)} ${url}`).join('\n');
  return `
  The mesh runs. Ctrl-C stops it.

    API                ${front}
    docs               ${front}/docs
${nodes}
    data               ${relative(process.cwd(), dataDir)}
    operators          npm run repl, in another terminal

`;
}

async function stop(code: number): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  for (const step of undo.reverse()) await step().catch(error => process.stderr.write(`${explain(error)}\n`));
  process.exit(code);
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => void stop(0));
main().catch(error => {
  process.stderr.write(`\n${explain(error)}\n\n`);
  return stop(1);
});
