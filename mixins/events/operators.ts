import type { ServiceBroker } from 'moleculer';
import { statement } from '../db/statement';
import { type Counters, parseEnvelope } from './consumer';
import { bury, type DeadLetter, listDeadLetters, takeDeadLetter } from './dead-letters';
import { type Handler, react, type Unit, updateReplicas } from './delivery';
import { describeError } from './failures';
import type { Hub } from './hub';
import { hubOf, listHubs } from './hubs';

/** One domain's end of the event log, as operators see it. */
export interface EventLogStatus {
  domain: string;
  carrier: string;
  /** Whether this process publishes the outbox. */
  isLeader: boolean;
  unpublished: number;
  /** Seconds for which the oldest unpublished row has been waiting. */
  oldestUnpublishedAge: number;
  /** Rows that the carrier refused. */
  refused: number;
  topics: string[];
  isConsuming: boolean;
  /** Services that are to come back before the domain consumes again. */
  waitsFor: string[];
  /** Where the domain keeps its offsets itself: how far each log was read. */
  offsets: { source: string; position: number }[];
  deadLetters: number;
  parked: number;
  /** Since the process started. */
  counters: Counters;
}

const selectStatus = statement<
  object,
  Pick<EventLogStatus, 'unpublished' | 'oldestUnpublishedAge' | 'refused' | 'deadLetters' | 'parked' | 'offsets'>
>(
  'events.status',
  `select unpublished, "oldestUnpublishedAge",
     (select count(*) from outbox_dead) as refused,
     (select count(*) from dead_letters) as "deadLetters",
     (select count(*) from parked_events) as parked,
     (select coalesce(json_agg(json_build_object('source', source, 'position', position) order by source), '[]')
      from (select source, min(position) as position from consumer_offsets group by source)) as offsets
   from (
     select count(*) as unpublished,
       coalesce(extract(epoch from now() - min(recorded_at)), 0)::float as "oldestUnpublishedAge"
     from outbox where published_at is null
   )`,
);

const restoreRefused = statement<object, { restored: number }>(
  'events.restoreRefused',
  `with taken as (delete from outbox_dead returning *),
   restored as (
     insert into outbox (id, topic, key, company_id, version, compacted, envelope, recorded_at)
     select id, topic, key, company_id, version, compacted, envelope, recorded_at from taken order by seq
     returning 1
   )
   select count(*) as restored from restored`,
);

/** How the event log of a domain, or of every one that runs here, is doing. */
export async function eventLogStatus(broker: ServiceBroker, domain?: string): Promise<EventLogStatus[]> {
  const hubs = domain === undefined ? listHubs(broker) : [hubOf(broker, domain)];
  return Promise.all(hubs.map(statusOf));
}

async function statusOf(hub: Hub): Promise<EventLogStatus> {
  const { outbox, carrier, relay, topics, isConsuming, missing, counters } = hub;
  const stored = await selectStatus.one(hub.connections, {});
  return {
    domain: outbox.name,
    carrier: carrier.name,
    isLeader: relay.isLeader,
    topics,
    isConsuming,
    waitsFor: missing,
    counters,
    ...stored,
  };
}

/** Events that handlers of a domain failed on, oldest first. */
export function listDead(broker: ServiceBroker, domain: string, limit = 100): Promise<DeadLetter[]> {
  return listDeadLetters.all(hubOf(broker, domain).connections, { limit });
}

/**
 * Tries dead letters of a domain once more.
 * @param eventIds which ones; all of them unless told
 * @returns how many went well, and how many are dead letters still
 */
export async function retryDead(
  broker: ServiceBroker,
  domain: string,
  eventIds?: readonly string[],
): Promise<{ done: number; dead: number }> {
  const hub = hubOf(broker, domain);
  const letters = await listDead(broker, domain, 10_000);
  const wanted = eventIds ? letters.filter(({ eventId }) => eventIds.includes(eventId)) : letters;
  let done = 0;
  for (const letter of wanted) if (await retryOne(hub, letter)) done++;
  return { done, dead: wanted.length - done };
}

async function retryOne(hub: Hub, letter: DeadLetter): Promise<boolean> {
  const handler = hub.handlers.find(({ service, topic }) => service === letter.service && topic === letter.topic);
  let unit: Unit | undefined;
  try {
    await hub.connections.inTransaction(async tx => {
      const taken = await takeDeadLetter.maybe(tx, letter);
      if (!taken) return;
      unit = toUnit(letter, handler, taken.envelope);
      if (letter.kind === 'replica') await updateReplicas(tx, [unit]);
      else await react(tx, unit);
    });
    return true;
  } catch (error) {
    const failed = unit;
    if (failed) await hub.connections.inTransaction(tx => bury(tx, failed, describeError(error), 1));
    return false;
  }
}

function toUnit({ eventId, service, kind, topic, key }: DeadLetter, handler: Handler | undefined, envelope: string): Unit {
  const gone = { service, run: () => Promise.reject(new Error(`${service} does not handle ${topic} here`)) };
  return {
    handler: handler ?? gone,
    kind,
    event: { topic, key, value: envelope },
    eventId,
    envelope: parseEnvelope(envelope),
  };
}

/** Sends the rows that the carrier refused once more; returns how many. Their order is that of today. */
export async function retryRefused(broker: ServiceBroker, domain: string): Promise<number> {
  const hub = hubOf(broker, domain);
  const { restored } = await restoreRefused.one(hub.connections, {});
  hub.relay.wake();
  return restored;
}

/**
 * Fills the replicas of a service again from everything that the log holds now, while the domain's group goes on. No
 * reaction is run.
 * @returns how many events were read
 */
export async function replay(broker: ServiceBroker, service: string): Promise<number> {
  const hub = listHubs(broker).find(({ handlers }) => handlers.some(handler => handler.service === service));
  const topics = hub?.handlers.filter(handler => handler.service === service && handler.isReplica).map(({ topic }) => topic);
  if (!hub || !topics || topics.length === 0) throw new Error(`No service ${service} with replicas runs here`);
  let read = 0;
  await hub.carrier.replay(topics, async events => {
    await hub.consumer.replay(events, service);
    read += events.length;
  });
  return read;
}
