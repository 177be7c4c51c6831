import type { ServiceBroker } from 'moleculer';
import type * as z from 'zod';
import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import type { EventContract } from './event';
import { hubOf } from './hubs';
import { recordAll } from './record';

const PAGE = 500;
/**
 * More changes than any aggregate sees between a backup and its being restored. A fixed step, because the owner knows
 * nothing of its replicas: to ask all of them for their versions, every one would have to be there.
 */
const RAISE = 10_000;

/** The aggregates that an owner tells of by a state topic. */
export interface Aggregates<D extends z.ZodType = z.ZodType> {
  contract: EventContract<D>;
  /**
   * Their present states in the order of their ids, from behind the id given.
   * @param isLocking whether they are to be recorded: the rows are locked then (`for no key update`), or a change could
   *   be recorded between reading and recording
   */
  page(tx: Transaction, after: string | undefined, limit: number, isLocking: boolean): Promise<z.input<D>[]>;
  /** Counts their versions up. */
  raise?(tx: Transaction, ids: readonly string[], by: number): Promise<void>;
}

const renewLog = statement('events.renewLog', 'update event_log set id = gen_random_uuid()');

/**
 * Records the present state of every aggregate again, for a new service, cluster or carrier. Replicas take it in; nobody
 * reacts to it.
 * @param options `raise` after an older backup of the owner's database was restored: versions are raised over those that
 *   replicas have seen; `restart`: whoever had read the log reads it from its beginning, which goes with that
 * @returns how many events were recorded
 */
export async function republish<D extends z.ZodType>(
  broker: ServiceBroker,
  domain: string,
  aggregates: Aggregates<D>,
  { raise = false, restart = raise }: { raise?: boolean; restart?: boolean } = {},
): Promise<number> {
  const { connections } = hubOf(broker, domain);
  if (raise && !aggregates.raise) throw new Error(`${aggregates.contract.topic} does not say how its versions are raised`);
  if (restart) await renewLog.all(connections, {});
  let recorded = 0;
  for (let after: string | undefined; ; ) {
    const states = await connections.inTransaction(tx => republishPage(tx, aggregates, after, raise));
    recorded += states.length;
    const last = states.at(-1);
    if (last === undefined || states.length < PAGE) return recorded;
    after = keyOf(aggregates.contract, last);
  }
}

async function republishPage<D extends z.ZodType>(
  tx: Transaction,
  { contract, page, raise }: Aggregates<D>,
  after: string | undefined,
  isRaising: boolean,
): Promise<z.input<D>[]> {
  let states = await page(tx, after, PAGE, true);
  if (isRaising) {
    const ids = states.map(state => keyOf(contract, state));
    await raise?.(tx, ids, RAISE);
    states = await page(tx, after, PAGE, true);
  }
  await recordAll(tx, contract, states, { republished: true });
  return states;
}

function keyOf<D extends z.ZodType>(contract: EventContract<D>, state: z.input<D>): string {
  return contract.keyOf(contract.data.parse(state));
}
