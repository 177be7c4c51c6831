import type { ServiceSchema } from 'moleculer';
import { DOMAINS, type NodeRole } from '../mixins/config';
import api from './api/api.service';
import { gateway } from './api/gateway';
import leaveRequestsEvents from './leave-requests/events.service';
import leaveRequests from './leave-requests/leave-requests.service';
import notificationsEvents from './notifications/events.service';
import notifications from './notifications/notifications.service';
import presenceEvents from './presence/events.service';
import presence from './presence/presence.service';
import tasksEvents from './tasks/events.service';
import tasks from './tasks/tasks.service';
import auth from './users/auth.service';
import companies from './users/companies.service';
import usersEvents from './users/events.service';
import teams from './users/teams.service';
import users from './users/users.service';

/** Every service, by the role that brings it. Written by hand: a bundler cannot follow a glob. */
const services = {
  users: [auth, users, companies, teams, usersEvents],
  presence: [presence, presenceEvents],
  tasks: [tasks, tasksEvents],
  'leave-requests': [leaveRequests, leaveRequestsEvents],
  notifications: [notifications, notificationsEvents],
  api: [api],
} as const satisfies Record<NodeRole, readonly unknown[]>;

/** The services of a node that has these roles. An API without any domain is a gateway to all of them. */
export function servicesOf(roles: readonly NodeRole[]): ServiceSchema[] {
  if (roles.every(role => role === 'api')) return roles.slice(0, 1).map(() => gateway(servicesOf(DOMAINS)) as ServiceSchema);
  return roles.flatMap(role => [...services[role]] as unknown as ServiceSchema[]);
}
