import type { Queryable } from '../db/statement';
import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import { offsetMoved } from './carrier';
import type { LogState } from './outbox';

/** How far a group has read one topic of a log. */
export interface Offset {
  topic: string;
  logId: string;
  position: number;
  /** End of the log when the group first looked. */
  firstEnd: number;
  /** Up to here the group had read it before its database was emptied. */
  readBefore: number;
}

const selectOffsets = statement<{ source: string; topics: string[] }, Offset>(
  'events.offsets',
  `select topic, log_id as "logId", position, first_end as "firstEnd",
     read_before as "readBefore"
   from consumer_offsets
   where source = $source and topic = any($topics::text[])`,
);

const insertOffsets = statement<{ source: string; topics: string[]; readBefore: number } & LogState>(
  'events.offsets.insert',
  `insert into consumer_offsets (source, topic, log_id, position, first_end, read_before)
   select $source, topic, $logId, 0, $end, $readBefore from unnest($topics::text[]) as topic
   on conflict do nothing`,
);

const restartOffsets = statement<{ source: string; topics: string[]; positions: number[] } & LogState>(
  'events.offsets.restart',
  `update consumer_offsets set log_id = $logId, position = 0, first_end = $end
   from unnest($topics::text[], $positions::bigint[]) as known(topic, position)
   where consumer_offsets.source = $source and consumer_offsets.topic = known.topic
     and consumer_offsets.position = known.position`,
);

const advanceOffsets = statement<
  { source: string; logId: string; topics: string[]; positions: number[]; to: number },
  { topic: string }
>(
  'events.offsets.advance',
  `update consumer_offsets set position = greatest(consumer_offsets.position, $to)
   from unnest($topics::text[], $positions::bigint[]) as known(topic, position)
   where consumer_offsets.source = $source and consumer_offsets.log_id = $logId
     and consumer_offsets.topic = known.topic and consumer_offsets.position = known.position
   returning consumer_offsets.topic`,
);

/** Position up to which each topic of a log was read, by the group whose database it is; 0 of what it never read. */
export async function readPositions(
  on: Queryable,
  source: string,
  log: LogState,
  topics: readonly string[],
): Promise<Map<string, number>> {
  const known = (await selectOffsets.all(on, { source, topics: [...topics] })).filter(({ logId }) => logId === log.logId);
  return new Map(topics.map(topic => [topic, known.find(offset => offset.topic === topic)?.position ?? 0]));
}

/**
 * How far a group has read one log, kept in the group's own database: what an event causes and that it was read become
 * true together. Each topic has its own, so that one that is followed from today on is read from its beginning.
 */
export class Offsets {
  readonly #offsets = new Map<string, Offset>();

  constructor(
    /** Name of the database that the log belongs to. */
    private readonly source: string,
    private readonly group: string,
    private readonly topics: readonly string[],
  ) {}

  /** Position up to which everything was read. */
  get position(): number {
    return Math.min(...this.topics.map(topic => this.of(topic).position));
  }

  of(topic: string): Offset {
    const offset = this.#offsets.get(topic);
    if (!offset) throw new Error(`The offset of ${topic} in ${this.source} was not read`);
    return offset;
  }

  async load(on: Queryable): Promise<void> {
    this.#offsets.clear();
    const topics = [...this.topics];
    for (const offset of await selectOffsets.all(on, { source: this.source, topics })) this.#offsets.set(offset.topic, offset);
  }

  /**
   * Starts at the beginning what was never read, or was read of another log. So was a log that ends before the offset:
   * its database was restored from a backup.
   * @param log as it is after the offsets were loaded
   * @param furthest asks how far the group has ever read, as the log's database remembers it
   * @returns whether anything was started: load again then
   */
  async adoptLog(on: Queryable, log: LogState, furthest: () => Promise<number>): Promise<boolean> {
    const unknown = this.topics.filter(topic => !this.#offsets.has(topic));
    const stale = [...this.#offsets.values()].filter(({ logId, position }) => logId !== log.logId || position > log.end);
    if (unknown.length > 0) {
      // Who knows no topic at all is new, or lost its database and its inbox with it.
      const readBefore = this.#offsets.size === 0 ? await furthest() : 0;
      await insertOffsets.all(on, { source: this.source, topics: unknown, readBefore, ...log });
    }
    if (stale.length > 0) {
      const [topics, positions] = [stale.map(({ topic }) => topic), stale.map(({ position }) => position)];
      await restartOffsets.all(on, { source: this.source, topics, positions, ...log });
    }
    return unknown.length > 0 || stale.length > 0;
  }

  /** Moves every topic behind a position, in a transaction. */
  async advance(tx: Transaction, to: number): Promise<void> {
    const known = [...this.#offsets.values()];
    const moved = await advanceOffsets.all(tx, {
      source: this.source,
      logId: known[0]?.logId ?? '',
      topics: known.map(({ topic }) => topic),
      positions: known.map(({ position }) => position),
      to,
    });
    if (moved.length < known.length) throw offsetMoved(this.group);
    tx.afterCommit(() => {
      for (const offset of known) offset.position = Math.max(offset.position, to);
    });
  }
}
