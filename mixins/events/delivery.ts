import type { Context, EventSchema, Service } from 'moleculer';
import type { Meta } from '../contract';
import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import type { CarriedEvent } from './carrier';
import type { Envelope } from './event';
import type { Apply, Delivery, DeliveryLocals } from './handler';

/** A durable entry of a service's `events`. */
export interface Handler {
  /** Name of the service. */
  service: string;
  topic: string;
  isReplica: boolean;
  isReaction: boolean;
  run(envelope: Envelope, locals: DeliveryLocals): Promise<void>;
}

export type Kind = Delivery['kind'];

/** One event for one handler: what succeeds or fails by itself. */
export interface Unit {
  handler: Pick<Handler, 'service' | 'run'>;
  kind: Kind;
  event: Pick<CarriedEvent, 'topic' | 'key' | 'value'>;
  eventId: string;
  /** `undefined` when the value is no envelope. */
  envelope: Envelope | undefined;
}

/** Finds the durable handlers of a service. */
export function handlersOf(service: Service): Handler[] {
  const events: Record<string, EventSchema | object> = service.schema.events ?? {};
  return Object.entries(events).flatMap(([name, entry]) => {
    if (!('durable' in entry) || !entry.durable) return [];
    const { contract, isReplica = false, isReaction = false } = entry.durable;
    const { topic } = contract();
    if (topic !== name) throw new Error(`The event '${name}' of ${service.fullName} is handled by the contract of '${topic}'`);
    return [{ service: service.fullName, topic, isReplica, isReaction, run: runner(service, topic, entry) }];
  });
}

/** Delivers through Moleculer, so that its middlewares check and trace events from the log like all others. */
function runner(service: Service, topic: string, entry: EventSchema): Handler['run'] {
  const { broker } = service;
  const event = { ...entry, name: topic, service };
  const endpoint = { id: broker.nodeID, event, broker, service: null, node: null, local: true, state: true };
  const handle = (ctx: Context) => service.emitLocalEventHandler(topic, ctx.params, { ctx });
  // emitLocalEventHandler alone is the bare handler.
  const wrapped = broker.middlewares.wrapHandler('localEvent', handle, event as never) as (ctx: Context) => Promise<void>;
  return async (envelope, locals) => {
    const { requestid: requestID, traceparent } = envelope;
    const headers = traceparent ? { traceparent } : {};
    const ctx = broker.ContextFactory.create(broker, endpoint as never, envelope, { requestID, headers });
    const named: Context<unknown, Meta> = Object.assign(ctx, {
      eventName: topic,
      eventType: 'emit',
      eventGroups: [service.name],
    });
    Object.assign(named.locals, locals);
    await wrapped(ctx);
  };
}

/** Every statement of an aborted transaction fails, its commit does not: it would roll back and say nothing. */
const assertIntact = statement('events.assertIntact', 'select');

const claimUnits = statement<{ ids: string[]; services: string[] }, { eventId: string; service: string }>(
  'events.claim',
  `insert into inbox (event_id, service)
   select event_id, service from unnest($ids::text[], $services::text[]) as claimed(event_id, service)
   order by event_id, service
   on conflict do nothing
   returning event_id as "eventId", service`,
);

/** Notes in the inbox that reactions are about to happen; returns those that have not happened before. */
async function claim(tx: Transaction, units: readonly Unit[]): Promise<Unit[]> {
  if (units.length === 0) return [];
  const ids = units.map(unit => unit.eventId);
  const services = units.map(unit => unit.handler.service);
  const claimed = await claimUnits.all(tx, { ids, services });
  const open = new Set(claimed.map(({ eventId, service }) => `${eventId} ${service}`));
  // The same event may be twice in one chunk: the first of them takes it.
  return units.filter(unit => open.delete(`${unit.eventId} ${unit.handler.service}`));
}

/** Brings about, in one transaction, what some events cause. Replicas first: reactions look at them. */
export async function carryOut(tx: Transaction, units: readonly Unit[]): Promise<void> {
  await updateReplicas(
    tx,
    units.filter(unit => unit.kind === 'replica'),
  );
  const reactions = await claim(
    tx,
    units.filter(unit => unit.kind === 'reaction'),
  );
  for (const unit of reactions) await react(tx, unit);
  await assertIntact.all(tx, {});
}

/** Runs a reaction that is in the inbox already. */
export async function react(tx: Transaction, unit: Unit): Promise<void> {
  await unit.handler.run(envelopeOf(unit), { tx, delivery: { kind: 'reaction' } });
}

/** Brings replicas up to date. */
export async function updateReplicas(tx: Transaction, units: readonly Unit[]): Promise<void> {
  const batches = new Map<Apply, Map<string, Envelope>>();
  const collect = (apply: Apply, envelope: Envelope) => {
    const newest = batches.get(apply) ?? new Map<string, Envelope>();
    const known = newest.get(envelope.subject);
    if (!known || known.version < envelope.version) newest.set(envelope.subject, envelope);
    batches.set(apply, newest);
  };
  for (const unit of units) await unit.handler.run(envelopeOf(unit), { tx, delivery: { kind: 'replica', collect } });
  for (const [apply, newest] of batches) await apply(tx, [...newest.values()] as never);
}

function envelopeOf({ envelope }: Unit): Envelope {
  if (!envelope) throw new Error('The event is no CloudEvents envelope in JSON');
  return envelope;
}
