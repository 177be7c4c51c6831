import type { Service, ServiceSchema } from 'moleculer';
import type { DomainDatabase } from '../db/db.mixin';
import type { HubOptions } from './hub';
import { hubOf, joinHub, leaveHub } from './hubs';

/**
 * Connects a service with the event log: what its domain records leaves, and the entries of its `events` that are
 * reactions or replicas are run. Services of one domain in a process share one end of the log.
 */
export function eventLog(domain: DomainDatabase, options: HubOptions = {}): Partial<ServiceSchema> {
  const mixin = {
    created(this: Service) {
      joinHub(this, domain, options);
    },
    async started(this: Service) {
      hubOf(this.broker, domain.name).register(this);
    },
    async stopped(this: Service) {
      await leaveHub(this, domain);
    },
  };
  return mixin as unknown as Partial<ServiceSchema>;
}
