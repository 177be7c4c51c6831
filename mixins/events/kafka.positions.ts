import type { Batch, IMemberAssignment } from 'kafkajs';
import type { PartitionLag } from './carrier';

interface Position {
  topic: string;
  partition: number;
  /** Offset of what is to be handled next. */
  next: number;
  /** Offset behind the newest event, as the last fetch told it. */
  end: number;
}

/** How far a member of a group is behind in its partitions: each fetch says where the partition ends. */
export class Positions {
  readonly #positions = new Map<string, Position>();

  /** Forgets the partitions that others have now. */
  keep(assignment: IMemberAssignment): void {
    for (const [place, { topic, partition }] of this.#positions) {
      if (!assignment[topic]?.includes(partition)) this.#positions.delete(place);
    }
  }

  fetched({ topic, partition, highWatermark, messages }: Batch): void {
    const next = Number(messages[0]?.offset ?? highWatermark);
    this.#positions.set(`${topic}/${partition}`, { topic, partition, next, end: Number(highWatermark) });
  }

  /** Everything in front of `next` is done. */
  handled({ topic, partition }: Batch, next: number): void {
    const position = this.#positions.get(`${topic}/${partition}`);
    if (position) position.next = next;
  }

  /** @param eventOf name of the event that a topic of Kafka carries */
  lags(eventOf: (topic: string) => string): PartitionLag[] {
    return [...this.#positions.values()].map(({ topic, partition, next, end }) => ({
      topic: eventOf(topic),
      partition,
      lag: Math.max(0, end - next),
    }));
  }
}
