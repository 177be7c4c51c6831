import type { ServiceBroker } from 'moleculer';
import { statement } from '../db/statement';
import type { Lag } from './carrier';
import type { Counters } from './consumer';
import { describeError } from './failures';
import type { Hub } from './hub';
import { hubOf, listHubs } from './hubs';
import { readStored, type Stored } from './stored';

/** One domain's end of the event log, as operators see it. */
export interface EventLogStatus extends Stored {
  domain: string;
  carrier: string;
  /** Whether this process publishes the outbox. */
  isLeader: boolean;
  topics: string[];
  isConsuming: boolean;
  /** Services that are to come back before the domain consumes again. */
  waitsFor: string[];
  /** Who may publish, in whichever process; `node` is null when nobody does. */
  lease: { node: string | null; epoch: number; expiresAt: string | null };
  /** How far behind the domain is in what it follows; null when the log could not be asked. */
  lag: Lag[] | null;
  /** Why it could not be asked. */
  lagError: string | null;
  /** Since the process started. */
  counters: Counters;
}

const selectLease = statement<object, EventLogStatus['lease']>(
  'events.lease.status',
  `select case when expires_at > clock_timestamp() then coalesce(node, owner::text) end as node, epoch,
     case when owner is not null
       then to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end as "expiresAt"
   from relay_lease`,
);

/** How the event log of a domain, or of every one that runs here, is doing. */
export async function eventLogStatus(broker: ServiceBroker, domain?: string): Promise<EventLogStatus[]> {
  const hubs = domain === undefined ? listHubs(broker) : [hubOf(broker, domain)];
  return Promise.all(hubs.map(statusOf));
}

async function statusOf(hub: Hub): Promise<EventLogStatus> {
  const { outbox, carrier, relay, topics, isConsuming, missing, counters } = hub;
  const { connections } = hub;
  const [stored, lease, lag] = await Promise.all([readStored(connections), selectLease.one(connections, {}), lagOf(hub)]);
  return {
    domain: outbox.name,
    carrier: carrier.name,
    isLeader: relay.isLeader,
    topics,
    isConsuming,
    waitsFor: missing,
    counters,
    ...stored,
    lease,
    ...lag,
  };
}

/** A log that is out of reach is no reason to say nothing of the rest. */
async function lagOf({ carrier, outbox, topics, connections }: Hub): Promise<Pick<EventLogStatus, 'lag' | 'lagError'>> {
  if (!carrier.lag || topics.length === 0) return { lag: [], lagError: null };
  try {
    return { lag: await carrier.lag({ name: outbox.name, topics, connections }), lagError: null };
  } catch (error) {
    return { lag: null, lagError: describeError(error) };
  }
}
