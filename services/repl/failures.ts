import { DOMAINS } from '../../mixins/config';
import { commonProblems, type FieldError, isProblem } from '../../mixins/errors';

type Failure = Error & { type?: string; data?: { action?: string; errors?: FieldError[] } };

/** It is known, and its node has gone, or is going. */
const UNREACHED = new Set(['SERVICE_NOT_AVAILABLE', 'REQUEST_REJECTED', 'BROKER_DISCONNECTED']);

/** Whether an action was called that nobody in the mesh has. */
export function isNotThere(error: unknown): boolean {
  return (error as Failure).type === 'SERVICE_NOT_FOUND';
}

/** What an operator reads of a call that failed. */
export function toMessage(error: unknown): string {
  const failure = error as Failure;
  const where = domainOfAction(failure.data?.action);
  if (isNotThere(error)) return `${where} does not run in this mesh`;
  if (UNREACHED.has(failure.type ?? '')) return `${where} does not answer at the moment`;
  if (failure.type === 'REQUEST_TIMEOUT') return `${where} did not answer in time; it may be at work still`;
  if (isProblem(error, commonProblems.UNAVAILABLE))
    return 'it cannot answer at the moment: its database is out of reach, or it is being started';
  const fields = failure.data?.errors?.map(({ field, message }) => `${field} ${message}`) ?? [];
  return [failure.message, ...fields].join('; ');
}

/** `users.events.status` is an action of users, and so is `auth.endSessions`. */
function domainOfAction(action = ''): string {
  const [service = ''] = action.split('.');
  return DOMAINS.find(domain => domain === service) ?? (service === 'auth' ? 'users' : service || 'The service');
}
