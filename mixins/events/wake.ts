import type { Queryable } from '../db/statement';

// On the database, not in this module: a hot reload makes the module anew while whoever listens still runs.
/** There is something in the outbox. */
export const OUTBOX = Symbol.for('hiver.events.outbox');
/** Somebody has arrived whom parked events wait for, or an event was parked just now. */
export const PARKING = Symbol.for('hiver.events.parking');

type Bell = typeof OUTBOX | typeof PARKING;
type Holder = { [OUTBOX]?: () => void; [PARKING]?: () => void };

/** Has `listener` called when the bell of a database rings; `undefined` takes it off. */
export function onBell(database: object, bell: Bell, listener: (() => void) | undefined): void {
  (database as Holder)[bell] = listener;
}

/**
 * Rings a bell after the commit: before, there is nothing to see.
 * @param on the database, or a transaction on it
 */
export function ring(on: Queryable, bell: Bell): void {
  const database = (on as { owner?: object }).owner ?? on;
  (database as Holder)[bell]?.();
}

/** Tells the relay, after the commit, that there is something in the outbox. */
export function wakeRelay(on: Queryable): void {
  ring(on, OUTBOX);
}
