import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { replicaMigrations } from '../../mixins/replica/tables';

/** The presence domain: who is at work, since when, and how that is known. */
export const presenceDomain: DomainDatabase = { name: 'presence', migrations: [...replicaMigrations], constraints: {} };
