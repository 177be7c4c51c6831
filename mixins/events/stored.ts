import { type Queryable, statement } from '../db/statement';

/** What a domain's database tells of its event log. */
export interface Stored {
  unpublished: number;
  /** Seconds for which the oldest of them has been waiting; 0 when there is none. */
  oldestUnpublishedAge: number;
  /** Rows that the carrier refused. */
  refused: number;
  deadLetters: number;
  parked: number;
}

// Cheap also with a long outbox: counted from the partial index, and the oldest row is the first one.
const selectStored = statement<object, Stored>(
  'events.stored',
  `select
     (select count(*) from outbox where published_at is null) as unpublished,
     coalesce((
       select extract(epoch from clock_timestamp() - recorded_at)
       from outbox where published_at is null order by seq limit 1
     ), 0)::float as "oldestUnpublishedAge",
     (select count(*) from outbox_dead) as refused,
     (select count(*) from dead_letters) as "deadLetters",
     (select count(*) from parked_events) as parked`,
);

/** Counts what waits in a domain's database, and what was given up. */
export function readStored(on: Queryable): Promise<Stored> {
  return selectStored.one(on, {});
}
