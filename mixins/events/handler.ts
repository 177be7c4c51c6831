import type { Context, EventSchema, ServiceBroker } from 'moleculer';
import type { Meta } from '../contract';
import type { Transaction } from '../db/transaction';
import type { Envelope, EventContract } from './event';

/** What makes an entry of a service's `events` a consumer of the event log. Plain data: mixins are merged by cloning. */
export interface Durable {
  /** A function, because cloning strips zod's types of their methods. */
  contract: () => EventContract;
  /** Keeps a copy of the aggregate; may be run again at any time. */
  isReplica?: true;
  /** Does something once. */
  isReaction?: true;
}

declare module 'moleculer' {
  namespace Service {
    interface EventSchema {
      durable?: Durable;
    }
  }
}

/** How a durable handler is called; without locals when the event came by Moleculer's own bus. */
export type DeliveryContext<Params = unknown> = Context<Params, Meta, Partial<DeliveryLocals>>;

/** A durable entry of a service's `events`; `T` is the service. */
export interface DurableEvent<T> extends EventSchema {
  handler: (this: T, ctx: DeliveryContext) => Promise<void>;
}

/** The `events` of a service: in the handlers of reactions `this` is the service. */
export type ServiceEvents<T> = {
  [topic: string]: DurableEvent<T> | EventSchema | ((this: T, ctx: Context<unknown, Meta>) => Promise<void> | void);
} & ThisType<T>;

/** Writes the newest known states of some aggregates into a replica. */
export type Apply<Data = never> = (tx: Transaction, envelopes: Envelope<Data>[]) => Promise<void>;

/** What an event is delivered for: an entry that is both a replica and a reaction is called for each by itself. */
export type Delivery = { kind: 'reaction' } | { kind: 'replica'; collect(apply: Apply, envelope: Envelope): void };

/** What the event log gives a handler beside the event. */
export interface DeliveryLocals {
  /** Transaction of the chunk. */
  tx: Transaction;
  delivery: Delivery;
}

/**
 * How an event is delivered; `undefined`, and an error in the log, when it came by Moleculer's own bus, as from `emit`
 * in the REPL: there is no transaction then, and nobody to try again.
 */
export function deliveryOf(ctx: DeliveryContext): Delivery | undefined {
  const { tx, delivery } = ctx.locals;
  if (tx && delivery) return delivery;
  loggerOf(ctx).error(
    `'${ctx.eventName}' was emitted on Moleculer's bus and is ignored: it is a durable event, to be recorded in the outbox`,
  );
  return undefined;
}

function loggerOf(ctx: DeliveryContext): ServiceBroker['logger'] {
  return ctx.service?.logger ?? ctx.broker.logger;
}
