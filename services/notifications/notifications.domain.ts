import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { migrations } from './migrations';

/** The notifications domain: who was told what, by which channel, and what has still to be told. */
export const notificationsDomain: DomainDatabase = { name: 'notifications', migrations, constraints: {} };
