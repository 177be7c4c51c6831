import type { Admin, ITopicConfig } from 'kafkajs';
import type { EventKind } from './event';
import { type KafkaConnection, kafkajs, type Log, openClient, withAdmin } from './kafka.client';

/** Of every topic; another number would move keys to other partitions, and with that lose their order. */
export const PARTITIONS = 6;
const WEEK = 7 * 24 * 3_600_000;
const REPLICAS = 3;

const MISMATCH = 'TOPIC_MISMATCH';

/** A topic is there and is not what it has to be: nothing that waiting would mend. */
export function isTopicMismatch(error: unknown): boolean {
  return (error as { code?: unknown }).code === MISMATCH;
}

const policyOf = (kind: EventKind) => (kind === 'state' ? 'compact' : 'delete');

/** Makes the topics of the event log and holds them to what they have to be. */
export class Topics {
  readonly #verified = new Set<string>();
  #work: Promise<void> = Promise.resolve();

  constructor(
    private readonly connection: KafkaConnection,
    private readonly log: Log,
  ) {}

  /**
   * Makes those that are missing, and looks at partitions and policy of the others; each once.
   * @param wanted names in Kafka, with what they carry
   * @throws `TOPIC_MISMATCH` naming topics that are different; the driver's errors when Kafka is out of reach
   */
  async ensure(wanted: ReadonlyMap<string, EventKind>): Promise<void> {
    if (this.#isVerified(wanted)) return;
    const mine = this.#work.then(() => (this.#isVerified(wanted) ? undefined : this.#ensure(wanted)));
    this.#work = mine.catch(() => undefined);
    await mine;
  }

  #isVerified(wanted: ReadonlyMap<string, EventKind>): boolean {
    return [...wanted.keys()].every(name => this.#verified.has(name));
  }

  async #ensure(wanted: ReadonlyMap<string, EventKind>): Promise<void> {
    const names = [...wanted.keys()].filter(name => !this.#verified.has(name));
    const client = openClient(this.connection, this.log, { retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 5 } });
    await withAdmin(client, async admin => {
      const known = new Set(await admin.listTopics());
      const missing = names.filter(name => !known.has(name));
      if (missing.length > 0) await this.#create(admin, missing, wanted);
      const problems = await mismatches(admin, names, wanted);
      if (problems.length > 0) throw Object.assign(new Error(problems.join('; ')), { code: MISMATCH });
      // A leader may still say that it does not host a new partition: a batch would be taken by some of them only, and
      // sent twice. Offsets are asked of the leaders, and asked for again.
      for (const name of names) await admin.fetchTopicOffsets(name);
    });
    for (const name of names) this.#verified.add(name);
  }

  async #create(admin: Admin, names: readonly string[], wanted: ReadonlyMap<string, EventKind>): Promise<void> {
    const { brokers } = await admin.describeCluster();
    // Of a cluster that is starting only some may be there yet; a topic keeps for ever what it was made with.
    const isCluster = Math.max(brokers.length, this.connection.brokers.length) >= REPLICAS;
    const topics = names.map(name => topicConfig(name, wanted.get(name) ?? 'fact', isCluster));
    // Another process that makes them at the same time is no failure: what counts is what is there then.
    const isCreated = await admin.createTopics({ topics, waitForLeaders: true, timeout: 5_000 });
    if (isCreated) this.log.info(`Topics made: ${names.join(', ')}`);
  }
}

function topicConfig(topic: string, kind: EventKind, isCluster: boolean): ITopicConfig {
  const settings: Record<string, string> = {
    'cleanup.policy': policyOf(kind),
    ...(kind === 'fact' && { 'retention.ms': String(WEEK) }),
    'min.insync.replicas': isCluster ? String(REPLICAS - 1) : '1',
    'unclean.leader.election.enable': 'false',
  };
  return {
    topic,
    numPartitions: PARTITIONS,
    replicationFactor: isCluster ? REPLICAS : 1,
    configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
  };
}

async function mismatches(admin: Admin, names: readonly string[], wanted: ReadonlyMap<string, EventKind>): Promise<string[]> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [...names] });
  const type = kafkajs().ConfigResourceTypes.TOPIC;
  const { resources } = await admin.describeConfigs({
    resources: names.map(name => ({ type, name, configNames: ['cleanup.policy'] })),
    includeSynonyms: false,
  });
  const partitions = topics
    .filter(topic => topic.partitions.length !== PARTITIONS)
    .map(({ name, partitions: { length } }) => `The topic ${name} has ${length} partition(s) instead of ${PARTITIONS}`);
  const policies = resources.flatMap(({ resourceName, configEntries }) => {
    const policy = configEntries.find(({ configName }) => configName === 'cleanup.policy')?.configValue;
    const expected = policyOf(wanted.get(resourceName) ?? 'fact');
    return policy === expected ? [] : [`The topic ${resourceName} has cleanup.policy=${policy} instead of ${expected}`];
  });
  return [...partitions, ...policies];
}
