import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { replicaMigrations } from '../../mixins/replica/tables';

/** The leave-requests domain: who asks to be away, when, and who agreed. */
export const leaveRequestsDomain: DomainDatabase = {
  name: 'leave-requests',
  migrations: [...replicaMigrations],
  constraints: {},
};
