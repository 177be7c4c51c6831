import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer, IMemberAssignment } from 'kafkajs';
import { type Client, withAdmin } from './kafka.client';

const AGAIN_AFTER = 200;

interface Options {
  client: Client;
  consumer: Consumer;
  groupId: string;
  /** Partitions by topic, as the group gave them to this member. */
  assignment: IMemberAssignment;
  signal: AbortSignal;
}

const placeOf = (topic: string, partition: number) => `${topic}/${partition}`;

/**
 * Where each assigned partition ended when its group first looked at it, so that old facts are known from new ones. Kept
 * as metadata of the group's offset, which is committed for empty partitions too: otherwise what comes to them while the
 * group is away would count as old.
 */
export class FirstLook {
  readonly #ends: Promise<ReadonlyMap<string, number>>;

  constructor(private readonly options: Options) {
    this.#ends = this.#look();
    this.#ends.catch(() => undefined);
  }

  /** @returns `undefined` when the partition is not this member's */
  async endOf(topic: string, partition: number): Promise<number | undefined> {
    return (await this.#ends).get(placeOf(topic, partition));
  }

  async #look(): Promise<ReadonlyMap<string, number>> {
    for (;;) {
      this.options.signal.throwIfAborted();
      try {
        const ends = await this.#lookOnce();
        if (ends) return ends;
      } catch {
        // Kafka is out of reach, or the group is being divided again: then there is another look.
      }
      await delay(AGAIN_AFTER, undefined, { signal: this.options.signal, ref: false });
    }
  }

  /** Gives nothing when something was committed: whether that counted shows at the next look. */
  #lookOnce(): Promise<ReadonlyMap<string, number> | undefined> {
    const { client, consumer, groupId, assignment } = this.options;
    return withAdmin(client, async admin => {
      const topics = Object.keys(assignment);
      if (topics.length === 0) return new Map();
      const offsets = (await admin.fetchOffsets({ groupId, topics })).flatMap(({ topic, partitions }) =>
        partitions
          .filter(({ partition }) => assignment[topic]?.includes(partition))
          .map(({ partition, offset, metadata }) => ({ topic, partition, offset: Number(offset), metadata })),
      );
      const isUnseen = ({ offset }: { offset: number }) => offset < 0;
      if (!offsets.some(isUnseen)) {
        return new Map(offsets.map(({ topic, partition, metadata }) => [placeOf(topic, partition), endIn(metadata)]));
      }
      for (const topic of new Set(offsets.filter(isUnseen).map(offset => offset.topic))) {
        const unseen = new Set(
          offsets.filter(offset => offset.topic === topic && isUnseen(offset)).map(({ partition }) => partition),
        );
        const bounds = (await admin.fetchTopicOffsets(topic)).filter(({ partition }) => unseen.has(partition));
        await consumer.commitOffsets(
          bounds.map(({ partition, low, high }) => ({ topic, partition, offset: low, metadata: metadataOf(Number(high)) })),
        );
      }
      return undefined;
    });
  }
}

/** What is committed with an offset, until the group has passed that end. */
export function metadataOf(firstEnd: number): string {
  return `first-end=${firstEnd}`;
}

function endIn(metadata: string | null): number {
  return Number(/^first-end=(\d+)$/.exec(metadata ?? '')?.[1] ?? 0);
}
