import type { Service, ServiceSchema, ServiceSettingSchema } from 'moleculer';
import { type DbMethods, type DbVars, type DomainDatabase, db } from './db/db.mixin';
import type { Table } from './db/model';
import { eventLog } from './events/events.mixin';

/** Type of a domain service's schema; `Methods` and `Vars` are the service's own. Misspelt ones do not compile. */
export type DomainService<Methods = unknown, Vars = unknown> = ServiceSchema<
  ServiceSettingSchema,
  DbMethods & Methods,
  DbVars & Vars,
  Service & DbMethods & DbVars & Methods & Vars
>;

/**
 * What every service of a domain mixes in: the domain's database and its end of the event log.
 * @param domain the database, its migrations and what violating its constraints means
 * @param main the table that the service is about
 */
export function domain<Row extends object>(domain: DomainDatabase, main: Table<Row>): Partial<ServiceSchema>[] {
  return [db(domain, main), eventLog(domain)];
}
