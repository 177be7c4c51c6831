import type { Service, ServiceSchema, ServiceSettingSchema } from 'moleculer';
import { auditMigration } from './audit';
import { endedSessionsMigration } from './auth/ended-sessions';
import { endedSessions } from './auth/ended-sessions.mixin';
import { publicKeysMigration } from './auth/kept-keys';
import { keepKeys } from './auth/kept-keys.mixin';
import { type DbMethods, type DbVars, type DomainDatabase, db } from './db/db.mixin';
import type { Migration } from './db/migrations';
import type { Table } from './db/model';
import { eventLog } from './events/events.mixin';
import type { ServiceEvents } from './events/handler';
import { eventLogConstraints, eventLogMigrations } from './events/migrations';
import { idempotencyMigration, purgeIdempotencyKeys } from './idempotency/answers';
import { operatorLogMigration, purgeOperatorLog } from './operators/operator-log';
import { searchMigration } from './search';

type This<Methods, Vars> = Service & DbMethods & DbVars & Methods & Vars;

/** Type of a domain service's schema; `Methods` and `Vars` are the service's own. Misspelt ones do not compile. */
export type DomainService<Methods = unknown, Vars = unknown> = Omit<
  ServiceSchema<ServiceSettingSchema, DbMethods & Methods, DbVars & Vars, This<Methods, Vars>>,
  'methods' | 'events'
> & { methods?: Methods & ThisType<This<Methods, Vars>>; events?: ServiceEvents<This<Methods, Vars>> };

/** Tables that every domain's database has. */
const commonMigrations: readonly Migration[] = [
  searchMigration,
  ...eventLogMigrations,
  endedSessionsMigration,
  idempotencyMigration,
  auditMigration,
  publicKeysMigration,
  operatorLogMigration,
];

/** Every migration of a domain's database, in the order in which they run. */
export function allMigrations(domain: DomainDatabase): readonly Migration[] {
  return [...commonMigrations, ...domain.migrations];
}

/**
 * What every service of a domain mixes in: the domain's database, its end of the event log, and the sessions that ended.
 * @param domain the database, its migrations and what violating its constraints means
 * @param main the table that the service is about
 */
export function domain<Row extends object>(domain: DomainDatabase, main: Table<Row>): Partial<ServiceSchema>[] {
  const complete = {
    ...domain,
    migrations: allMigrations(domain),
    constraints: { ...eventLogConstraints, ...domain.constraints },
  };
  return [
    db(complete, main),
    eventLog(complete, { purges: [purgeIdempotencyKeys, purgeOperatorLog, ...(domain.purges ?? [])] }),
    keepKeys(),
    endedSessions(),
  ];
}
