import type { ServiceBroker } from 'moleculer';
import { statement } from '../db/statement';
import { parseEnvelope } from './consumer';
import { bury, type DeadLetter, listDeadLetters, takeDeadLetter } from './dead-letters';
import { type Handler, react, type Unit, updateReplicas } from './delivery';
import { describeError } from './failures';
import type { Hub } from './hub';
import { hubOf, listHubs } from './hubs';

/** A recorded event that the carrier refused. */
export interface RefusedEvent {
  eventId: string;
  topic: string;
  key: string;
  error: string;
  refusedAt: string;
}

const selectRefused = statement<{ limit: number }, RefusedEvent>(
  'events.refused',
  `select id as "eventId", topic, key, error, refused_at as "refusedAt" from outbox_dead order by seq limit $limit`,
);

const restoreRefused = statement<{ ids: string[] | undefined }, { restored: number }>(
  'events.restoreRefused',
  `with taken as (delete from outbox_dead where $ids::text[] is null or id::text = any($ids) returning *),
   restored as (
     insert into outbox (id, topic, key, company_id, version, compacted, envelope, recorded_at)
     select id, topic, key, company_id, version, compacted, envelope, recorded_at from taken order by seq
     returning 1
   )
   select count(*) as restored from restored`,
);

/** Events that handlers of a domain failed on, oldest first. */
export function listDead(broker: ServiceBroker, domain: string, limit = 100): Promise<DeadLetter[]> {
  return listDeadLetters.all(hubOf(broker, domain).connections, { limit });
}

/** Events of a domain that its carrier refused, oldest first. */
export function listRefused(broker: ServiceBroker, domain: string, limit = 100): Promise<RefusedEvent[]> {
  return selectRefused.all(hubOf(broker, domain).connections, { limit });
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

/**
 * Sends rows that the carrier refused once more; returns how many. Their order is that of today.
 * @param eventIds which ones; all of them unless told
 */
export async function retryRefused(broker: ServiceBroker, domain: string, eventIds?: readonly string[]): Promise<number> {
  const hub = hubOf(broker, domain);
  const { restored } = await restoreRefused.one(hub.connections, { ids: eventIds && [...eventIds] });
  hub.relay.wake();
  return restored;
}

/** What came of a replay: how many events were read, and how many of them could not be used. */
export interface Replayed {
  read: number;
  failed: number;
}

/** `replay` for every service of a domain that has replicas. */
export async function replayDomain(broker: ServiceBroker, domain: string): Promise<Replayed> {
  const { handlers } = hubOf(broker, domain);
  const services = new Set(handlers.filter(({ isReplica }) => isReplica).map(({ service }) => service));
  const sum: Replayed = { read: 0, failed: 0 };
  for (const service of services) {
    const { read, failed } = await replay(broker, service);
    sum.read += read;
    sum.failed += failed;
  }
  return sum;
}

/**
 * Fills the replicas of a service again from everything that the log holds now, while the domain's group goes on. No
 * reaction is run.
 */
export async function replay(broker: ServiceBroker, service: string): Promise<Replayed> {
  const hub = listHubs(broker).find(({ handlers }) => handlers.some(handler => handler.service === service));
  const topics = hub?.handlers.filter(handler => handler.service === service && handler.isReplica).map(({ topic }) => topic);
  if (!hub || !topics || topics.length === 0) throw new Error(`No service ${service} with replicas runs here`);
  const replayed: Replayed = { read: 0, failed: 0 };
  await hub.carrier.replay(topics, async events => {
    // Partitions come side by side: nothing may happen between reading the sum and adding to it.
    const failed = await hub.consumer.replay(events, service);
    replayed.failed += failed;
    replayed.read += events.length;
  });
  return replayed;
}
