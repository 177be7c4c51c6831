import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import type { Kind, Unit } from './delivery';

/** An event that a handler failed on, time and again. */
export interface DeadLetter {
  eventId: string;
  service: string;
  kind: Kind;
  topic: string;
  key: string;
  error: string;
  tries: number;
  failedAt: string;
}

const insertDeadLetter = statement<{
  eventId: string;
  service: string;
  kind: Kind;
  topic: string;
  key: string;
  envelope: string;
  error: string;
  tries: number;
}>(
  'events.bury.letter',
  `with handled as (
     insert into inbox (event_id, service) select $eventId, $service where $kind::text = 'reaction' on conflict do nothing
   )
   insert into dead_letters (event_id, service, kind, topic, key, envelope, error, tries)
   values ($eventId, $service, $kind, $topic, $key, $envelope, $error, $tries)
   on conflict (event_id, service, kind) do update
   set error = excluded.error, tries = dead_letters.tries + excluded.tries, failed_at = now()`,
);

export const listDeadLetters = statement<{ limit: number }, DeadLetter>(
  'events.deadLetters',
  `select event_id as "eventId", service, kind, topic, key, error, tries, failed_at as "failedAt"
   from dead_letters order by failed_at, event_id limit $limit`,
);

/** Takes a dead letter out to try it once more; another operator who does the same waits and finds nothing. */
export const takeDeadLetter = statement<Pick<DeadLetter, 'eventId' | 'service' | 'kind'>, { envelope: string }>(
  'events.deadLetters.take',
  'delete from dead_letters where event_id = $eventId and service = $service and kind = $kind returning envelope',
);

/** Gives an event up, with its row in the inbox: delivered again, it is not tried again. */
export async function bury(tx: Transaction, unit: Unit, error: string, tries: number): Promise<void> {
  const { eventId, kind, event, handler } = unit;
  const { topic, key, value } = event;
  await insertDeadLetter.all(tx, { eventId, service: handler.service, kind, topic, key, envelope: value ?? '', error, tries });
}
