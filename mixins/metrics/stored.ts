import { statement } from '../db/statement';
import type { Hub } from '../events/hub';

/** Milliseconds that a database has to say how it is doing. */
const PATIENCE = 2_000;

/** What a domain's database tells of its event log. */
export interface Stored {
  unpublished: number;
  /** Seconds. */
  oldest: number;
  refused: number;
  deadLetters: number;
  parked: number;
}

// Cheap also with a long outbox: counted from the partial index, and the oldest row is the first one.
const selectStored = statement<object, Stored>(
  'metrics.stored',
  `select
     (select count(*) from outbox where published_at is null) as unpublished,
     coalesce((
       select extract(epoch from clock_timestamp() - recorded_at)
       from outbox where published_at is null order by seq limit 1
     ), 0)::float as oldest,
     (select count(*) from outbox_dead) as refused,
     (select count(*) from dead_letters) as "deadLetters",
     (select count(*) from parked_events) as parked`,
);

/** Looks that are under way: a frozen database is asked once, not once a scrape. */
const looks = new WeakMap<Hub, Promise<Stored | undefined>>();

/** One look at a domain's database; `undefined` when it does not answer in time, or not well. */
export async function lookAtStored(hub: Hub): Promise<Stored | undefined> {
  if (!hub.database.isReady) return undefined;
  const look = looks.get(hub) ?? begin(hub);
  const { promise: late, resolve: giveUp } = Promise.withResolvers<undefined>();
  const timer = setTimeout(giveUp, PATIENCE, undefined);
  try {
    return await Promise.race([look, late]);
  } finally {
    clearTimeout(timer);
  }
}

function begin(hub: Hub): Promise<Stored | undefined> {
  const look = selectStored
    .one(hub.connections, {})
    .catch(() => undefined)
    .finally(() => looks.delete(hub));
  looks.set(hub, look);
  return look;
}
