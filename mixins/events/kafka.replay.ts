import type { EachBatchPayload } from 'kafkajs';
import { v7 as uuidv7 } from 'uuid';
import type { CarriedEvent } from './carrier';
import { type Client, type KafkaConnection, type Log, openClient, withAdmin } from './kafka.client';
import { chunksOf, toEvent } from './kafka.messages';
import type { Names } from './kafka.names';
import { PARTITIONS } from './kafka.topics';

interface Options {
  connection: KafkaConnection;
  names: Names;
  topics: readonly string[];
  deliver: (events: readonly CarriedEvent[]) => Promise<void>;
  log: Log;
}

/** Offset behind the last event of each partition that holds any, by `topic/partition`. */
type Ends = Map<string, number>;

/** Reads topics from their beginning to their end as seen now, by a group that is gone afterwards. */
export async function replayTopics(options: Options): Promise<void> {
  const client = openClient(options.connection, options.log, {
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 10 },
  });
  const ends = await endsOf(client, options.topics.map(options.names.topic));
  if (ends.size === 0) return;
  const groupId = options.names.group(`replay-${uuidv7()}`);
  try {
    await readTo(ends, client, groupId, options);
  } finally {
    await withAdmin(client, admin => admin.deleteGroups([groupId])).catch(error =>
      options.log.warn(`The group ${groupId} stays behind: ${(error as Error).message}`),
    );
    client.drop();
  }
}

async function endsOf(client: Client, topics: readonly string[]): Promise<Ends> {
  return withAdmin(client, async admin => {
    const ends: Ends = new Map();
    for (const topic of topics) {
      for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
        if (Number(high) > Number(low)) ends.set(`${topic}/${partition}`, Number(high));
      }
    }
    return ends;
  });
}

async function readTo(ends: Ends, { kafka }: Client, groupId: string, { names, topics, deliver }: Options): Promise<void> {
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: 10_000,
    heartbeatInterval: 1_000,
    maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));

  const onBatch = async ({ batch, heartbeat, isRunning, resolveOffset }: EachBatchPayload) => {
    const { topic, partition } = batch;
    const place = `${topic}/${partition}`;
    const end = ends.get(place);
    if (end === undefined) return;
    for (const chunk of chunksOf(batch.messages.filter(message => Number(message.offset) < end))) {
      if (!isRunning()) return;
      await deliver(chunk.map(message => toEvent(names.event(topic), partition, message, 0)));
      await heartbeat();
    }
    resolveOffset(batch.lastOffset());
    if (Number(batch.lastOffset()) < end - 1) return;
    ends.delete(place);
    if (ends.size === 0) resolve();
  };

  try {
    await consumer.connect();
    await consumer.subscribe({ topics: topics.map(names.topic), fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: PARTITIONS,
      eachBatch: payload => onBatch(payload).catch(reject),
    });
    await promise;
  } finally {
    await consumer.disconnect();
  }
}
