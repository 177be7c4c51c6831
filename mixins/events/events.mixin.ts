import type { ServiceSchema } from 'moleculer';
import type { DomainDatabase } from '../db/db.mixin';

export function eventLog(_domain: DomainDatabase): Partial<ServiceSchema> {
  return {};
}
