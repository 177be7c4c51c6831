import type { Group, Lag } from './carrier';
import { type KafkaConnection, type Log, openClient, withAdmin } from './kafka.client';
import type { Names } from './kafka.names';

/** How far behind a group is in each partition of its topics. Fails within seconds when Kafka is out of reach. */
export async function lagOf(
  { name, topics }: Pick<Group, 'name' | 'topics'>,
  { connection, names, log }: { connection: KafkaConnection; names: Names; log: Log },
): Promise<Lag[]> {
  const client = openClient(connection, log, { retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 2 } });
  try {
    return await withAdmin(client, async admin => {
      const wanted = topics.map(names.topic);
      const committed = await admin.fetchOffsets({ groupId: names.group(name), topics: wanted });
      const lags: Lag[] = [];
      for (const { topic, partitions } of committed) {
        const offsets = new Map(partitions.map(({ partition, offset }) => [partition, Number(offset)]));
        for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
          // -1: nothing was ever committed, and the group begins at the beginning.
          const position = Math.max(offsets.get(partition) ?? -1, Number(low));
          const place = `${names.event(topic)}/${partition}`;
          lags.push({ place, position, end: Number(high), lag: Math.max(0, Number(high) - position) });
        }
      }
      return lags.sort((a, b) => (a.place < b.place ? -1 : 1));
    });
  } finally {
    client.drop();
  }
}
