import { statement } from '../db/statement';
import type { Connections } from './connections';
import type { Lease } from './lease';

/** Most rows that are taken in one go; more add nothing to the throughput. */
export const BATCH_ROWS = 500;
/** Most bytes of one send: 500 rows of 3 kB were more than Kafka takes in one record batch (1 MB). */
const BATCH_BYTES = 512 * 1024;
/** Most bytes of a page that is read back: it is held in memory. */
const PAGE_BYTES = 4 * 1024 * 1024;

/** Days after which a group that no longer comes is forgotten. */
const IDLE_DAYS = 30;

/** A recorded event on its way out. */
export interface OutboxRow {
  seq: number;
  id: string;
  topic: string;
  key: string;
  /** Whether it is of a state topic. */
  compacted: boolean;
  /** JSON; null is a tombstone. */
  envelope: string | null;
}

/** A row of the log, where the outbox is the log. */
export interface StampedRow {
  position: number;
  topic: string;
  key: string;
  /** JSON; null is a tombstone, or of a topic that was not asked for. */
  envelope: string | null;
  isWanted: boolean;
}

export interface LogState {
  logId: string;
  /** Position of the newest row. */
  end: number;
}

interface Fence {
  owner: string;
  epoch: number;
}

/** Holds in the statement's transaction: whoever takes the lease over waits for it to end, or it changes nothing. */
const FENCE = `select from relay_lease
  where owner = $owner and epoch = $epoch and expires_at > clock_timestamp() for share`;

// Order of seq, never "seq > the last one seen": sequence order is not commit order, and a slow transaction's row would
// be passed over. Reading a log by position is safe all the same, because event_log's row is locked from drawing
// positions until they can be seen.
const stampNext = statement<Fence, { stamped: number; isFenced: boolean } & LogState>(
  'events.stamp',
  `with fence as materialized (${FENCE}),
   pending as materialized (
     select seq from outbox where published_at is null order by seq limit ${BATCH_ROWS}
   ),
   log as (
     update event_log set last_position = last_position + (select count(*) from pending)
     where exists (select from fence) and exists (select from pending)
     returning last_position
   ),
   stamped as (
     update outbox set published_at = now(), position = log.last_position - place.of_last + place.nth
     from log, (select seq, row_number() over (order by seq) as nth, count(*) over () as of_last from pending) as place
     where outbox.seq = place.seq and outbox.position is null
     returning 1
   )
   select (select count(*) from stamped) as stamped, not exists (select from fence) as "isFenced",
     id as "logId", coalesce((select last_position from log), last_position) as "end"
   from event_log`,
);

const selectNext = statement<{ bytes: number }, OutboxRow & { unpublished: number }>(
  'events.next',
  `select seq, id, topic, key, compacted, envelope, unpublished
   from (
     select *, sum(coalesce(octet_length(envelope), 0)) over (order by seq) as total,
       row_number() over (order by seq) as nth, count(*) over () as unpublished
     from (select * from outbox where published_at is null order by seq limit ${BATCH_ROWS})
   )
   where total <= $bytes or nth = 1
   order by seq`,
);

const markPublished = statement<Fence & { seqs: number[] }, { marked: number }>(
  'events.mark',
  `with fence as materialized (${FENCE}),
   marked as (
     update outbox set published_at = now() where seq = any($seqs::bigint[]) and exists (select from fence) returning 1
   )
   select count(*) as marked from marked`,
);

const buryRow = statement<Fence & { seq: number; error: string }, { buried: number }>(
  'events.bury',
  `with fence as materialized (${FENCE}),
   refused as (
     delete from outbox where seq = $seq and exists (select from fence)
     returning seq, id, topic, key, company_id, version, compacted, envelope, recorded_at
   ),
   buried as (insert into outbox_dead select refused.*, $error from refused returning 1)
   select count(*) as buried from buried`,
);

const selectState = statement<object, LogState>('events.logState', 'select id as "logId", last_position as "end" from event_log');

const selectPage = statement<{ after: number; bytes: number; topics: string[] }, StampedRow>(
  'events.page',
  `select position, topic, key, is_wanted as "isWanted", case when is_wanted then envelope end as envelope
   from (
     select *, sum(size) over (order by position) as total, row_number() over (order by position) as nth
     from (
       select position, topic, key, envelope, topic = any($topics::text[]) as is_wanted,
         coalesce(octet_length(envelope), 0) as size
       from outbox where position > $after order by position limit ${BATCH_ROWS}
     )
   )
   where total <= $bytes or nth = 1
   order by position`,
);

const noteReader = statement<{ group: string; position: number }>(
  'events.noteReader',
  `insert into event_log_readers as reader (group_name, position, furthest) values ($group, $position, $position)
   on conflict (group_name) do update set position = excluded.position, seen_at = now(),
     furthest = greatest(reader.furthest, excluded.position)`,
);

const furthestOf = statement<{ group: string }, { furthest: number }>(
  'events.furthest',
  'select furthest from event_log_readers where group_name = $group',
);

const smallestReader = statement<object, { position: number | null }>(
  'events.smallestReader',
  `select min(position) as position from event_log_readers where seen_at > now() - interval '${IDLE_DAYS} days'`,
);

const countAfter = statement<{ topics: string[]; positions: number[] }, { topic: string; waiting: number }>(
  'events.countAfter',
  `select known.topic, count(outbox.seq) as waiting
   from unnest($topics::text[], $positions::bigint[]) as known(topic, position)
   join outbox on outbox.topic = known.topic and outbox.position > known.position
   group by known.topic`,
);

const LEASE_LOST = 'LEASE_LOST';

function leaseLost(database: string): Error {
  return Object.assign(new Error(`The lease on the outbox of ${database} was lost`), { code: LEASE_LOST });
}

/** Whether a relay was stopped because somebody else publishes now. */
export function isLeaseLost(error: unknown): boolean {
  return (error as { code?: unknown }).code === LEASE_LOST;
}

/** The outbox of one database, as its relay and the carrier see it. What changes it demands the lease. */
export class Outbox {
  constructor(
    /** Name of its database. */
    readonly name: string,
    private readonly connections: Connections,
    private readonly lease: Lease,
  ) {}

  /**
   * Gives the next unpublished rows their positions, in order: with that they are published, where the outbox is the log.
   * @returns the log as it is then, and whether there may be more rows
   */
  async stamp(): Promise<LogState & { isMore: boolean }> {
    const { isFenced, stamped, ...log } = await stampNext.one(this.connections, this.lease.fence());
    if (isFenced) throw leaseLost(this.name);
    return { ...log, isMore: stamped === BATCH_ROWS };
  }

  /** The next unpublished rows in order: one at least, where there are any, and otherwise within the bounds of a send. */
  async next(): Promise<{ rows: OutboxRow[]; isMore: boolean }> {
    const rows = await selectNext.all(this.connections, { bytes: BATCH_BYTES });
    const unpublished = rows[0]?.unpublished ?? 0;
    return { rows, isMore: unpublished === BATCH_ROWS || unpublished > rows.length };
  }

  /** To be asked before each send: there is nothing to stop a send that has left. */
  assertLeads(): void {
    if (!this.lease.isHeld) throw leaseLost(this.name);
  }

  /** Notes that the carrier has acknowledged these rows. */
  async mark(rows: readonly OutboxRow[]): Promise<void> {
    const { marked } = await markPublished.one(this.connections, { ...this.lease.fence(), seqs: rows.map(row => row.seq) });
    if (marked < rows.length) throw leaseLost(this.name);
  }

  /** Takes out a row that the carrier refuses, so that the others flow on. */
  async bury(row: OutboxRow, error: string): Promise<void> {
    const { buried } = await buryRow.one(this.connections, { ...this.lease.fence(), seq: row.seq, error });
    if (buried === 0) throw leaseLost(this.name);
  }

  state(): Promise<LogState> {
    return selectState.one(this.connections, {});
  }

  /** The log's rows after a position, in order. Envelopes of other topics are not sent along. */
  page(after: number, topics: readonly string[]): Promise<StampedRow[]> {
    return selectPage.all(this.connections, { after, bytes: PAGE_BYTES, topics: [...topics] });
  }

  /** How many of the log's rows of each topic are behind a position; topics without any are left out. */
  async countAfter(positions: ReadonlyMap<string, number>): Promise<Map<string, number>> {
    const [topics, after] = [[...positions.keys()], [...positions.values()]];
    const counted = await countAfter.all(this.connections, { topics, positions: after });
    return new Map(counted.map(({ topic, waiting }) => [topic, waiting]));
  }

  /** Notes how far a group has read, for retention, and for the group itself when its database is emptied. */
  async noteReader(group: string, position: number): Promise<void> {
    await noteReader.all(this.connections, { group, position });
  }

  /** The furthest that a group has ever noted; 0 when it was never seen. */
  async furthestOf(group: string): Promise<number> {
    return (await furthestOf.maybe(this.connections, { group }))?.furthest ?? 0;
  }

  /** How far every group has read that was seen in the last 30 days; `undefined` when there is none. */
  async readByAll(): Promise<number | undefined> {
    return (await smallestReader.one(this.connections, {})).position ?? undefined;
  }
}
