import type { Queryable } from '../db/statement';
import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import type { Unit } from './delivery';
import { PARKING, ring } from './wake';

/** A reaction that waits for somebody to arrive in the replica. */
export interface ParkedEvent {
  eventId: string;
  service: string;
  topic: string;
  key: string;
  envelope: string;
  waitsFor: string;
  tries: number;
  /** How often that somebody had arrived when it was read. */
  arrivals: number;
  isExpired: boolean;
}

// Any number will do, as long as every instance takes the same one. Advisory locks are per database.
const PARKING_LOCK = 4_120_919;

// Somebody may arrive between a reaction's look and its parking. Parking waits for every arrival that is under way, and
// has a look taken after it: that look sees whoever arrived before. Whoever arrives after it finds the parked event.
const lockToPark = statement('events.park.lock', `select pg_advisory_xact_lock(${PARKING_LOCK})`);
const lockToArrive = statement('events.arrive.lock', `select pg_advisory_xact_lock_shared(${PARKING_LOCK})`);

const insertParked = statement<{
  eventId: string;
  service: string;
  topic: string;
  key: string;
  envelope: string;
  waitsFor: string;
}>(
  'events.park',
  `with claimed as (
     insert into inbox (event_id, service) values ($eventId, $service) on conflict do nothing returning event_id, service
   )
   insert into parked_events (event_id, service, topic, key, envelope, waits_for, is_due)
   select event_id, service, $topic, $key, $envelope, $waitsFor, true from claimed`,
);

const markDue = statement<{ userIds: string[] }, { eventId: string }>(
  'events.parked.due',
  `update parked_events set is_due = true, arrivals = arrivals + 1 where waits_for = any($userIds::uuid[])
   returning event_id as "eventId"`,
);

// Due ones, and all the others once a minute, in case that a process died between a commit and its bell.
const selectDue = statement<{ hours: number; limit: number }, ParkedEvent>(
  'events.parked',
  `select event_id as "eventId", service, topic, key, envelope, waits_for as "waitsFor", tries, arrivals,
     parked_at < now() - make_interval(hours => $hours::int) as "isExpired"
   from parked_events
   where is_due or tried_at < now() - interval '1 minute'
   order by parked_at, event_id limit $limit`,
);

/** Takes a parked event out to try it; another consumer that does the same waits and finds nothing. */
export const takeParked = statement<{ eventId: string; service: string }, { eventId: string }>(
  'events.parked.take',
  'delete from parked_events where event_id = $eventId and service = $service returning event_id as "eventId"',
);

/** Leaves it parked after one more try; due still, if somebody arrived since it was read. */
export const leaveParked = statement<{ eventId: string; service: string; arrivals: number; failures: number }>(
  'events.parked.leave',
  `update parked_events set is_due = arrivals <> $arrivals, tried_at = now(), tries = tries + $failures
   where event_id = $eventId and service = $service`,
);

/** Lays a reaction aside until the person is known here. It is tried once more as soon as that has committed. */
export async function park(tx: Transaction, unit: Unit, userId: string): Promise<void> {
  const { eventId, event, handler } = unit;
  const { topic, key, value } = event;
  await lockToPark.all(tx, {});
  await insertParked.all(tx, { eventId, service: handler.service, topic, key, envelope: value ?? '', waitsFor: userId });
  tx.afterCommit(() => ring(tx, PARKING));
}

/** Lets reactions that wait for these people happen, once the transaction that makes them known has committed. */
export async function peopleArrived(tx: Transaction, userIds: readonly string[]): Promise<void> {
  await lockToArrive.all(tx, {});
  const due = await markDue.all(tx, { userIds: [...userIds] });
  if (due.length > 0) tx.afterCommit(() => ring(tx, PARKING));
}

/** Parked events that may go on, oldest first. */
export function listDueEvents(on: Queryable, hours: number, limit: number): Promise<ParkedEvent[]> {
  return selectDue.all(on, { hours, limit });
}
