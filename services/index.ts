import type { ServiceSchema } from 'moleculer';
import { DOMAINS, type NodeRole } from '../mixins/config';
import api from './api/api.service';
import { gateway } from './api/gateway';
import leaveRequests from './leave-requests/leave-requests.service';
import notifications from './notifications/notifications.service';
import presence from './presence/presence.service';
import tasks from './tasks/tasks.service';
import auth from './users/auth.service';
import companies from './users/companies.service';
import teams from './users/teams.service';
import users from './users/users.service';

/** Every service, by the role that brings it. Written by hand: a bundler cannot follow a glob. */
const services = {
  users: [auth, users, companies, teams],
  presence: [presence],
  tasks: [tasks],
  'leave-requests': [leaveRequests],
  notifications: [notifications],
  api: [api],
} as const satisfies Record<NodeRole, readonly unknown[]>;

/** The services of a node that has these roles. An API without any domain is a gateway to all of them. */
export function servicesOf(roles: readonly NodeRole[]): ServiceSchema[] {
  if (roles.every(role => role === 'api')) return roles.slice(0, 1).map(() => gateway(servicesOf(DOMAINS)) as ServiceSchema);
  return roles.flatMap(role => [...services[role]] as unknown as ServiceSchema[]);
}
