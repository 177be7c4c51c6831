import type { Role } from '../../mixins/contract';
import type { UserStatus } from './users.contract';

interface Standing {
  role: Role;
  status: UserStatus;
}

/** Whether somebody can administer the company now. */
export function isActiveAdmin({ role, status }: Standing): boolean {
  return role === 'ADMIN' && status === 'ACTIVE';
}

/** Whether a change takes an active administrator away: the last one cannot go. */
export function losesAdmin(before: Standing, after: Partial<Standing>): boolean {
  return isActiveAdmin(before) && !isActiveAdmin({ ...before, ...after });
}

/** Whether two addresses reach the same mailbox, as far as we tell them apart. */
export function isSameAddress(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
