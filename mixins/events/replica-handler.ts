import type * as z from 'zod';
import type { Envelope, EventContract } from './event';
import { type Apply, type DeliveryContext, type DurableEvent, deliveryOf } from './handler';

/**
 * Keeps a copy of what another service owns. May be run again with old events at any time, so `apply` looks at the
 * version: it upserts what is newer than what it has, sorted by key, and nothing else. Called once for a whole chunk
 * with the newest event of each key; topics of one aggregate that share an `apply` share the call.
 */
export function replicaHandler<D extends z.ZodType, T>(contract: EventContract<D>, apply: Apply<z.output<D>>): DurableEvent<T> {
  return {
    params: contract.params as never,
    durable: { contract: () => contract as unknown as EventContract, isReplica: true },
    async handler(this: T, ctx: DeliveryContext) {
      const delivery = deliveryOf(ctx);
      if (delivery?.kind === 'replica') delivery.collect(apply as Apply, ctx.params as Envelope);
    },
  };
}
