import { boundedErrors, commonProblems, type FieldError, isProblem, type ProblemExtras } from '../../mixins/errors';

/** RFC 9457, with our members. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail?: string;
  code: string;
  requestId: string;
  errors?: FieldError[];
  [member: string]: unknown;
}

/** An error as HTTP tells it. */
export interface Answerable {
  status: number;
  code: string;
  title: string;
  detail?: string;
  errors?: FieldError[];
  members?: Record<string, unknown>;
  /** Seconds. */
  retryAfter?: number;
  /** Nobody foresaw it: somebody should look. */
  isBug: boolean;
  /** What the log should hold, beside the status. */
  cause?: unknown;
}

/** Moleculer's own errors that say "not now", whatever status Moleculer gives them. */
const UNAVAILABLE_TYPES = new Set([
  'SERVICE_NOT_FOUND',
  'SERVICE_NOT_AVAILABLE',
  'REQUEST_TIMEOUT',
  'REQUEST_SKIPPED',
  'REQUEST_REJECTED',
  'QUEUE_FULL',
  // The transporter is down.
  'BAD_GATEWAY',
]);

/** What `problems()` made, here or on another node: it carries its title. */
interface Declared {
  code: number;
  type: string;
  message: string;
  data: ProblemExtras & { title: string };
  cause?: unknown;
}

function isDeclared(error: unknown): error is Declared {
  const { code, type, data } = (error ?? {}) as { code?: unknown; type?: unknown; data?: { title?: unknown } | null };
  return typeof code === 'number' && typeof type === 'string' && typeof data?.title === 'string';
}

function isUnavailable(error: unknown): boolean {
  const { code, type } = (error ?? {}) as { code?: unknown; type?: unknown };
  return code === 503 || UNAVAILABLE_TYPES.has(String(type));
}

/**
 * What an error is to a client. Problems that we declared say what they say; Moleculer's own are translated; anything
 * else is a 500 that says nothing.
 */
export function answerable(error: unknown): Answerable {
  if (!isDeclared(error)) {
    const isBug = !isUnavailable(error);
    const { status, code, title } = isBug ? commonProblems.INTERNAL_ERROR : commonProblems.UNAVAILABLE;
    return { status, code, title, retryAfter: isBug ? undefined : 1, isBug, cause: error };
  }
  const { code: status, type: code, message, data } = error;
  const { title, errors, members } = data;
  const detail = message === title ? undefined : message;
  const retryAfter = data.retryAfter ?? (status === 429 || status === 503 ? 1 : undefined);
  if (status < 500) return { status, code, title, detail, errors, members, retryAfter, isBug: false };
  const isBug = isProblem(error, commonProblems.INTERNAL_ERROR);
  // A problem without a cause, such as a full queue, says all in its code.
  return { status, code, title, members, retryAfter, isBug, cause: error.cause ?? (isBug || detail ? error : undefined) };
}

/** The problem's stable URI: a name, nothing to be fetched. The documentation lists them by code. */
function problemType(code: string): string {
  return `urn:hiver:problem:${code}`;
}

/** The document that a client gets. The list of fields is bounded: a request cannot make its answer grow with it. */
export function problemDocument(answer: Answerable, requestId: string): ProblemDocument {
  const { status, code, title, detail, errors, members } = answer;
  return {
    type: problemType(code),
    title,
    status,
    detail,
    code,
    requestId,
    errors: errors && boundedErrors(errors),
    ...members,
  };
}
