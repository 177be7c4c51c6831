import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceBroker } from 'moleculer';
import { isRetriable, isUnavailable } from '../db/errors';
import type { FieldError } from '../errors';

const MAX_BACKOFF = 5_000;
const MAX_DEADLOCKS = 10;
/** A statement that was cancelled after its time, or a lock that was not to be had: it may be the event's own doing. */
const OWN_DOING = new Set(['57014', '55P03']);

/** Whether the database is out of reach, so that every event would fail: nothing is wrong with this one. */
function isOutage(error: unknown): boolean {
  const { code, original } = error as { code?: string; original?: { code?: string } };
  return isUnavailable(error) && !OWN_DOING.has(original?.code ?? code ?? '');
}

/**
 * Runs a transaction until it is committed or fails by its own fault: deadlocks and serialisation failures again at
 * once, outages with growing pauses for as long as they last.
 * @param signal ends the waiting; what it then throws is the signal's reason
 */
export async function persist<T>(
  transaction: () => Promise<T>,
  signal: AbortSignal,
  log: Pick<ServiceBroker['logger'], 'warn'>,
): Promise<T> {
  for (let deadlocks = 0, backoff = 100; ; ) {
    signal.throwIfAborted();
    try {
      return await transaction();
    } catch (error) {
      if (isRetriable(error) && ++deadlocks <= MAX_DEADLOCKS) continue;
      if (!isOutage(error)) throw error;
      if (backoff === 100) log.warn(`Events wait for the database: ${(error as Error).message}`);
      await delay(backoff, undefined, { signal, ref: false }).catch(() => undefined);
      backoff = Math.min(backoff * 2, MAX_BACKOFF);
    }
  }
}

/** What went wrong, for operators: one line, bounded, without the event's data. */
export function describeError(error: unknown): string {
  const { message, data } = error as Error & { data?: { errors?: FieldError[] } };
  const fields = (data?.errors ?? []).map(({ field, message }) => `${field}: ${message}`);
  return [message || String(error), ...fields].join(' | ').slice(0, 2_000);
}
