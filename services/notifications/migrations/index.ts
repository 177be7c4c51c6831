import { replicaMigrations } from '../../../mixins/replica/tables';
import notificationsDeliveries from './0001-notifications-deliveries';

/** Steps of the schema of hiver_notifications, in order. */
export const migrations = [...replicaMigrations, notificationsDeliveries];
