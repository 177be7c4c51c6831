import type { Transaction } from '../db/transaction';
import type { Connections } from './connections';
import type { Outbox } from './outbox';

/** One event as a carrier hands it over. */
export interface CarriedEvent {
  topic: string;
  key: string;
  /** The envelope as JSON; null is a tombstone. */
  value: string | null;
  /** Where it stands in the log, for people: `users/12`, or topic, partition and offset. */
  place: string;
  /**
   * It was in the log before the group first looked: reactions to old facts are left out then. A group that found
   * nothing has looked all the same, and is to be remembered: what comes while it is away is not old.
   */
  isFirstCatchUp: boolean;
  /**
   * Only where the group's offset is in the group's own database: it was read before that was emptied, and its inbox
   * with it. What happened then does not happen again.
   */
  isRepeated?: boolean;
}

/** Up to 500 events, in the log's order. */
export interface Chunk {
  events: readonly CarriedEvent[];
  /**
   * Only where the group's offset is in the group's own database: moves it behind the given event of the chunk, in the
   * transaction of what the events cause. Called first in it: another consumer of the group waits there.
   * @throws `offsetMoved` when that other consumer has been there already
   */
  advance?(tx: Transaction, last: CarriedEvent): Promise<void>;
  /** Only where a group is held to be dead when it is silent: called between events that take long. */
  heartbeat?(): Promise<void>;
}

/** All consumers of a domain, in this process and others: each event reaches one of them. */
export interface Group {
  /** Name of the domain. */
  name: string;
  topics: readonly string[];
  /** The group's own database, for carriers that keep offsets there. */
  connections: Connections;
  /**
   * Brings about what the events cause. Resolves when that is committed: only then may an offset be committed that is
   * kept elsewhere. It waits through outages, so it fails only when the group stops or its offset moved: the chunk, or
   * what is left of it, is to be delivered again.
   */
  deliver(chunk: Chunk): Promise<void>;
}

/** How far behind a group is in one part of the log. */
export interface Lag {
  /** `users.create/3`: topic and partition; where outboxes are the log, the outbox and the topic: `users/users.create`. */
  place: string;
  /** Everything before it was handled. */
  position: number;
  end: number;
  /** Events that wait; of a compacted topic that may be more than there still are. */
  lag: number;
}

export interface Subscription {
  /** How far it is behind in what it follows itself, as it saw at its last fetch; asks nobody. */
  lag?(): readonly PartitionLag[];
  /** Ends after the chunk that is under way. */
  stop(): Promise<void>;
}

/** Events of a partition that are still to be handled. */
export interface PartitionLag {
  topic: string;
  partition: number;
  lag: number;
}

/**
 * What brings events from outboxes to groups: at least once, in order for each key of a topic. One for each broker.
 * `test/contract/carrier.ts` says what is expected of it.
 */
export interface Carrier {
  readonly name: string;
  /**
   * Whether what `publish` does is undone by the database when the lease has gone. Where it is not, because it leaves
   * the database, a new holder of the lease waits for as long as a send of the one before may still be under way.
   */
  readonly isFencedByDatabase: boolean;
  /** A database of this process has events to bring; called once it can be reached. */
  attach(outbox: Outbox): Promise<void>;
  detach(outbox: Outbox): Promise<void>;
  /**
   * Moves the next rows of an outbox into the log, in order, and marks them. Called by the relay while it holds the
   * lease, never twice at once; its sends end within a lease.
   * @returns whether there may be more
   */
  publish(outbox: Outbox): Promise<boolean>;
  /** Delivers to a group from where it left off; a topic that it has never followed from its beginning. */
  subscribe(group: Group): Subscription;
  /**
   * Reads topics from their beginning up to their end as seen at the start, beside every group and without an offset.
   * Tombstones included.
   */
  replay(topics: readonly string[], deliver: (events: readonly CarriedEvent[]) => Promise<void>): Promise<void>;
  /**
   * Only where the outbox is the log: the position up to which every group has read it, and behind which nothing may be
   * deleted; `undefined` when nobody has read any.
   */
  readByAll?(outbox: Outbox): Promise<number | undefined>;
  /**
   * How far behind a group is, in all processes together.
   * @throws when the log cannot be asked just now
   */
  lag?(group: Pick<Group, 'name' | 'topics' | 'connections'>): Promise<Lag[]>;
  /** Before the first outbox or group. */
  start(): Promise<void>;
  /** After the last outbox and group. */
  stop(): Promise<void>;
}

const OFFSET_MOVED = 'OFFSET_MOVED';

/** Another consumer of the group went on meanwhile. */
export function offsetMoved(group: string): Error {
  return Object.assign(new Error(`Another consumer of ${group} went on meanwhile`), { code: OFFSET_MOVED });
}

export function isOffsetMoved(error: unknown): boolean {
  return (error as { code?: unknown }).code === OFFSET_MOVED;
}
