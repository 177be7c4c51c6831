import { Errors } from 'moleculer';
import { commonProblems, type ProblemFactory } from '../errors';

/** What violating a constraint means to a caller: constraint or index name -> problem. */
export type ConstraintProblems = Readonly<Record<string, ProblemFactory>>;

interface PostgresError extends Error {
  code?: string;
  constraint?: string;
}

const RETRIABLE = new Set(['40001', '40P01']);
const CONFLICTS = new Set(['23505', '23503', '23P01']);
const UNUSABLE_TEXT = new Set(['22021', '22P05']);
// Classes of SQLSTATE that say: not now. 08 connection, 53 resources, 57 operator intervention and statement time-out, 55 locks.
const UNAVAILABLE_CLASSES = new Set(['08', '53', '55', '57']);
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENOENT)/;
const NO_CONNECTION =
  /timeout exceeded when trying to connect|timeout expired|Connection terminated|Query read timeout|Client has encountered a connection error|not queryable|pool after calling end/;

/** The driver's error inside what Sequelize wraps around it. */
function unwrap(error: unknown): PostgresError {
  const outer = error as PostgresError & { original?: PostgresError };
  return outer.original ?? outer;
}

/** Whether running the whole transaction again may succeed: a deadlock or a serialisation failure. */
export function isRetriable(error: unknown): boolean {
  return RETRIABLE.has(unwrap(error).code ?? '');
}

/** Whether the database could not be reached or could not answer, rather than refuse. */
export function isUnavailable(error: unknown): boolean {
  const inner = unwrap(error);
  if ((inner as { type?: unknown }).type === commonProblems.UNAVAILABLE.code) return true;
  const code = inner.code ?? '';
  if (typeof code !== 'string') return false;
  return (
    (code.length === 5 && UNAVAILABLE_CLASSES.has(code.slice(0, 2))) ||
    NETWORK.test(code) ||
    NO_CONNECTION.test(inner.message) ||
    /^Sequelize(Connection|ConnectionAcquireTimeout|ConnectionRefused|HostNotReachable|AccessDenied)/.test((error as Error).name)
  );
}

/** Turns PostgreSQL's errors into problems with stable codes; leaves everything else as it is. */
export function toProblem(error: unknown, constraints: ConstraintProblems): unknown {
  if (error instanceof Errors.MoleculerError) return error;
  const inner = unwrap(error);
  const named = inner.constraint === undefined ? undefined : constraints[inner.constraint];
  if (named) return named();
  if (CONFLICTS.has(inner.code ?? '')) return withCause(commonProblems.CONFLICT(), error);
  if (UNUSABLE_TEXT.has(inner.code ?? '')) {
    return commonProblems.VALIDATION_FAILED({ errors: [{ field: null, message: 'Text may not contain NUL characters.' }] });
  }
  if (isRetriable(error) || isUnavailable(error)) return withCause(commonProblems.UNAVAILABLE({ retryAfter: 1 }), error);
  return error;
}

function withCause(problem: Error, cause: unknown): Error {
  problem.cause = cause;
  return problem;
}
