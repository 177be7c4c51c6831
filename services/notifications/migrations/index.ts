import notificationsDeliveries from './0001-notifications-deliveries';
import people from './0002-people';

/** Steps of the schema of hiver_notifications, in order. */
export const migrations = [notificationsDeliveries, people];
