import { randomBytes } from 'node:crypto';
import { ServiceBroker, type ServiceSchema } from 'moleculer';
import { afterEach } from 'vitest';
import type { Config } from '../../mixins/config';
import { brokerOptions } from '../../moleculer.config';
import { TEST_BROKERS } from '../kafka/environment';
import { testConfig } from './app';
import { until } from './until';

/** A node of a mesh, in this process. */
export interface MeshNode {
  broker: ServiceBroker;
  /** What it logged, one parsed line each. */
  log: { level: string; msg: string; [field: string]: unknown }[];
  /** Messages with which it would have ended its process. */
  fatal: string[];
  stop(): Promise<void>;
}

const running = new Set<MeshNode>();

afterEach(async () => {
  await Promise.all([...running].map(node => node.stop()));
});

/** A key to seal packets with, and for tests that share a Kafka a world of their own. */
export const transportKey = (id = 'k1') => ({ id, key: randomBytes(32) });

/** The configuration of a mesh node that has no domains, and with them no databases. */
export function meshConfig(overrides: Partial<Config> = {}): Promise<Config> {
  const brokers = (process.env[TEST_BROKERS] ?? '').split(',');
  return testConfig({
    mode: 'mesh',
    services: [],
    kafka: { brokers, ssl: false, sasl: undefined },
    transportKeys: [transportKey()],
    ...overrides,
  });
}

/** Starts a node with these services, as the application would; stopped at the test's end. */
export async function startNode(config: Config, services: readonly object[] = []): Promise<MeshNode> {
  const log: MeshNode['log'] = [];
  const to = { write: (line: string) => void log.push(JSON.parse(line)) };
  const broker = new ServiceBroker(brokerOptions(config, { log: { to } }));
  const node: MeshNode = {
    broker,
    log,
    fatal: [],
    async stop() {
      if (running.delete(node)) await broker.stop();
    },
  };
  // The real one would take the tests along.
  broker.fatal = message => void node.fatal.push(message);
  for (const service of services) broker.createService(service as ServiceSchema);
  running.add(node);
  await broker.start();
  return node;
}

/** Waits until a node can call an action of another one. */
export async function untilKnown({ broker }: MeshNode, action: string, timeout = 20_000): Promise<void> {
  await until(() => broker.registry.actions.isAvailable(action), { timeout, what: `${action} to be known to ${broker.nodeID}` });
}
