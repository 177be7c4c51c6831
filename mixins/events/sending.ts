import type { ServiceBroker } from 'moleculer';
import type { Outbox, OutboxRow } from './outbox';

const REFUSED = 'REFUSED_BY_CARRIER';

/** What a carrier's send fails with when it will never take these rows: they are too large together, or one is wrong. */
export function refusedByCarrier(reason: string): Error {
  return Object.assign(new Error(reason), { code: REFUSED });
}

/**
 * Publishing for carriers whose log is elsewhere: sends the next rows of an outbox in one batch and marks what was
 * acknowledged. A refused batch is halved until the row that is refused stands alone; that one goes to `outbox_dead`.
 * @param send resolves when everything is acknowledged, and fails with `refusedByCarrier` or whatever may pass by itself
 * @returns whether there may be more
 */
export async function sendNext(
  outbox: Outbox,
  send: (rows: readonly OutboxRow[]) => Promise<void>,
  log: Pick<ServiceBroker['logger'], 'error'>,
): Promise<boolean> {
  const { rows, isMore } = await outbox.next();
  if (rows.length > 0) await sendAndMark(rows);
  return isMore;

  async function sendAndMark(batch: readonly OutboxRow[]): Promise<void> {
    outbox.assertLeads();
    try {
      await send(batch);
    } catch (error) {
      if ((error as { code?: unknown }).code !== REFUSED) throw error;
      return await divide(batch, (error as Error).message);
    }
    await outbox.mark(batch);
  }

  async function divide(batch: readonly OutboxRow[], reason: string): Promise<void> {
    const [first] = batch;
    if (first && batch.length === 1) {
      log.error(`The carrier refuses ${first.topic} ${first.key} (event ${first.id}): ${reason}. It is in outbox_dead`);
      return await outbox.bury(first, reason);
    }
    const half = Math.ceil(batch.length / 2);
    await sendAndMark(batch.slice(0, half));
    await sendAndMark(batch.slice(half));
  }
}
