import type { Context } from 'moleculer';
import type * as z from 'zod';
import type { Meta } from '../contract';
import type { Transaction } from '../db/transaction';
import type { Envelope, EventContract } from './event';
import { type DeliveryContext, type DurableEvent, deliveryOf } from './handler';

/** What a reaction gets: the event as `ctx.params`, and in `ctx.locals.tx` the transaction that it writes in. */
export type ReactionContext<Data> = Context<Envelope<Data>, Meta, { tx: Transaction }>;

/**
 * Something that happens once for each event of a topic, however often the event is delivered. It writes its own
 * database through `ctx.locals.tx` and nothing else: whatever leaves the process is sent by a job afterwards. Not
 * called for events that were republished, replayed, or too old.
 *
 * ```ts
 * events: {
 *   'users.create': reaction(userCreated, {
 *     async handler(ctx) {
 *       await insertWelcome.all(ctx.locals.tx, { userId: ctx.params.data.id });
 *     },
 *   }),
 * },
 * ```
 */
export function reaction<D extends z.ZodType, T>(
  contract: EventContract<D>,
  definition: { handler: (ctx: ReactionContext<z.output<D>>) => Promise<void> } & ThisType<T>,
): DurableEvent<T> {
  const { handler } = definition;
  return {
    params: contract.params as never,
    durable: { contract: () => contract as unknown as EventContract, isReaction: true },
    async handler(this: T, ctx: DeliveryContext) {
      if (deliveryOf(ctx)?.kind === 'reaction') await handler.call(this, ctx as ReactionContext<z.output<D>>);
    },
  };
}

const UNKNOWN_PERSON = 'UNKNOWN_PERSON';

interface UnknownPerson extends Error {
  userId: string;
}

/**
 * What a reaction throws about somebody who is not in the replica: not that they do not exist, only that they have not
 * arrived. The event is parked until they do, for 24 hours at most.
 */
export function unknownPerson(userId: string): Error {
  return Object.assign(new Error(`${userId} is not known here yet`), { code: UNKNOWN_PERSON, userId });
}

export function isUnknownPerson(error: unknown): error is UnknownPerson {
  return (error as { code?: unknown }).code === UNKNOWN_PERSON;
}
