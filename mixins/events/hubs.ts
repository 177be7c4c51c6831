import type { Service, ServiceBroker } from 'moleculer';
import { configOf, databaseVariable } from '../config';
import { openDatabase } from '../db/database';
import type { DomainDatabase } from '../db/db.mixin';
import { Hub, type HubOptions } from './hub';

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const HUBS = Symbol.for('hiver.events.hubs');
type Holder = ServiceBroker & { [HUBS]?: Map<string, { hub: Hub; services: Set<Service> }> };

function hubsOf(broker: ServiceBroker) {
  const holder = broker as Holder;
  holder[HUBS] ??= new Map();
  return holder[HUBS];
}

/**
 * A domain's end of the event log in this process.
 * @throws when no service of the domain runs here
 */
export function hubOf(broker: ServiceBroker, domain: string): Hub {
  const held = hubsOf(broker).get(domain);
  if (!held) throw new Error(`No service of ${domain} runs here`);
  return held.hub;
}

/** Every end of the event log in this process. */
export function listHubs(broker: ServiceBroker): Hub[] {
  return [...hubsOf(broker).values()].map(({ hub }) => hub);
}

/** Gives a service that is being made its domain's end of the event log, opened at its first use. */
export function joinHub(service: Service, domain: DomainDatabase, options: HubOptions): Hub {
  const { broker } = service;
  const hubs = hubsOf(broker);
  const held = hubs.get(domain.name) ?? { hub: openHub(broker, domain, options), services: new Set() };
  hubs.set(domain.name, held);
  held.services.add(service);
  held.hub.expect(service);
  return held.hub;
}

/** Takes a service out that has stopped; the last one closes the hub. */
export async function leaveHub(service: Service, domain: DomainDatabase): Promise<void> {
  const hubs = hubsOf(service.broker);
  const held = hubs.get(domain.name);
  if (!held?.services.delete(service)) return;
  if (held.services.size > 0) return await held.hub.unregister(service);
  hubs.delete(domain.name);
  await held.hub.close();
}

function openHub(broker: ServiceBroker, domain: DomainDatabase, options: HubOptions): Hub {
  const url = configOf(broker).databaseUrls[domain.name];
  if (!url) throw new Error(`${databaseVariable(domain.name)} is missing`);
  return new Hub(broker, openDatabase(broker, { ...domain, url }), options);
}
