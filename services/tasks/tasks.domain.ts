import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { replicaMigrations } from '../../mixins/replica/tables';

/** The tasks domain: what is to be done, by whom and until when. */
export const tasksDomain: DomainDatabase = { name: 'tasks', migrations: [...replicaMigrations], constraints: {} };
