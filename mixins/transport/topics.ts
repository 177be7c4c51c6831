import { setTimeout as delay } from 'node:timers/promises';
import type { Admin, ConfigDescription } from '@platformatic/kafka';
import type { Log } from '../events/kafka.client';
import { leavesOf } from './errors';

const REPLICAS = 3;
const LEADER_TIMEOUT = 10_000;
/** Kafka's number for the kind of a resource, and for the change of a setting. */
const TOPIC = 2;
const SET = 0;
const ALREADY_EXISTS = 'TOPIC_ALREADY_EXISTS';

/**
 * What nodes tell each other is of no use a moment later, and should not lie on a disk. Kafka deletes whole segments
 * only, and never the one that it writes to: a short one is what makes the retention true.
 */
export const TOPIC_SETTINGS: Readonly<Record<string, string>> = {
  'cleanup.policy': 'delete',
  'retention.ms': String(10 * 60_000),
  'segment.ms': String(60_000),
  'segment.bytes': String(16 * 1024 * 1024),
  'file.delete.delay.ms': '1000',
  'min.insync.replicas': '1',
};

/**
 * Makes the topics of Moleculer's transporter that are missing, one partition each, and mends the settings of the others.
 * Resolves when all have leaders.
 * @throws the driver's errors
 */
export async function ensureTopics(admin: Admin, names: readonly string[], log: Log): Promise<void> {
  const known = new Set(await admin.listTopics());
  const missing = names.filter(name => !known.has(name));
  if (missing.length > 0) await create(admin, missing);
  const others = names.filter(name => known.has(name));
  if (others.length > 0) await mend(admin, others, log);
  await waitForLeaders(admin, names);
}

async function create(admin: Admin, topics: string[]): Promise<void> {
  const { brokers } = await admin.metadata({ topics: [] });
  const configs = Object.entries(TOPIC_SETTINGS).map(([name, value]) => ({ name, value }));
  try {
    await admin.createTopics({ topics, partitions: 1, replicas: brokers.size >= REPLICAS ? REPLICAS : 1, configs });
  } catch (error) {
    // Another node starts at the same time, and makes those that all have in common.
    if (!leavesOf(error).every(({ apiId }) => apiId === ALREADY_EXISTS)) throw error;
  }
}

async function mend(admin: Admin, names: readonly string[], log: Log): Promise<void> {
  const keys = Object.keys(TOPIC_SETTINGS);
  const found = await admin.describeConfigs({
    resources: names.map(resourceName => ({ resourceType: TOPIC, resourceName, configurationKeys: keys })),
  });
  const resources = found.flatMap(({ resourceName, configs }) => {
    const changes = differences(configs);
    return changes.length > 0 ? [{ resourceType: TOPIC, resourceName, configs: changes } as const] : [];
  });
  if (resources.length === 0) return;
  const topics = resources.map(({ resourceName }) => resourceName).join(', ');
  try {
    await admin.incrementalAlterConfigs({ resources });
    log.warn(`Topics that kept too much have been mended: ${topics}`);
  } catch (error) {
    // Nodes can talk; only the disk keeps it for longer.
    log.error({ err: error }, `Topics keep more than they should, and this node may not change that: ${topics}`);
  }
}

function differences(configs: ConfigDescription['configs']) {
  return configs
    .filter(({ name, value }) => TOPIC_SETTINGS[name] !== undefined && TOPIC_SETTINGS[name] !== value)
    .map(({ name }) => ({ name, configOperation: SET, value: TOPIC_SETTINGS[name] ?? '' }) as const);
}

/** Whoever subscribes to a topic without a leader is given no partition of it, and hears nothing, for ever. */
async function waitForLeaders(admin: Admin, names: readonly string[]): Promise<void> {
  for (const deadline = performance.now() + LEADER_TIMEOUT; ; await delay(100)) {
    try {
      const { topics } = await admin.metadata({ topics: [...names], forceUpdate: true });
      const isReady = names.every(name => {
        const { partitions = [] } = topics.get(name) ?? {};
        return partitions.length > 0 && partitions.every(({ leader }) => leader >= 0);
      });
      if (isReady) return;
      if (performance.now() > deadline) throw new Error('Topics of the transporter have no leaders');
    } catch (error) {
      // Of topics that were just made the broker may not know yet.
      if (performance.now() > deadline) throw error;
    }
  }
}
