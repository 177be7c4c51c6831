import { Errors } from 'moleculer';

/** One thing that is wrong with a request: `field` is a dotted path into it, `null` when no single field is at fault. */
export interface FieldError {
  field: string | null;
  message: string;
  /** Line of an imported file; the header is line 1. */
  line?: number;
}

/** Errors that one answer lists. */
const MOST_ERRORS = 100;
const LONGEST_FIELD = 200;

/** As much of a list of errors as an answer tells: a request cannot make its answer grow with it. */
export function boundedErrors(errors: readonly FieldError[]): FieldError[] {
  return errors.slice(0, MOST_ERRORS).map(error => ({ ...error, field: error.field?.slice(0, LONGEST_FIELD) ?? null }));
}

/** What a problem may tell beside its code. */
export interface ProblemExtras {
  detail?: string;
  errors?: FieldError[];
  /** Seconds until it makes sense to try again; becomes `Retry-After`. */
  retryAfter?: number;
  /** Further members of the problem document, such as `errorCount`. */
  members?: Record<string, unknown>;
}

export interface ProblemFactory {
  (extras?: ProblemExtras): Errors.MoleculerError;
  readonly code: string;
  readonly status: number;
  readonly title: string;
}

const catalogue = new Map<string, ProblemFactory>();

/** Every problem code of the code base with its status and title: what the documentation lists. */
export function listProblems(): ProblemFactory[] {
  return [...catalogue.values()].sort((a, b) => (a.code < b.code ? -1 : 1));
}

/**
 * Declares problem codes. Each key becomes a factory of errors that travel between nodes as they are:
 * `code` is the HTTP status, `type` the problem's code. Test those two; `instanceof` does not survive a remote call.
 */
export function problems<const T extends Record<string, readonly [status: number, title: string]>>(
  declared: T,
): { readonly [K in keyof T]: ProblemFactory } {
  const factories = Object.entries(declared).map(([code, [status, title]]) => {
    const make = (extras: ProblemExtras = {}) =>
      status < 500
        ? new Errors.MoleculerClientError(extras.detail ?? title, status, code, { title, ...extras })
        : new Errors.MoleculerServerError(extras.detail ?? title, status, code, { title, ...extras });
    const factory: ProblemFactory = Object.assign(make, { code, status, title });
    catalogue.set(code, factory);
    return [code, factory];
  });
  return Object.fromEntries(factories);
}

/** Problems that any request may meet. A domain's own stand in its contract files. */
export const commonProblems = problems({
  NOT_FOUND: [404, 'There is nothing here.'],
  METHOD_NOT_ALLOWED: [405, 'This resource does not know that method.'],
  UNAUTHENTICATED: [401, 'Sign in first.'],
  FORBIDDEN: [403, 'Your role does not allow this.'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'This resource does not take that content type.'],
  BODY_TOO_LARGE: [413, 'The body is larger than this resource takes.'],
  BODY_MALFORMED: [400, 'The body cannot be read.'],
  REQUEST_MALFORMED: [400, 'The request cannot be read.'],
  VALIDATION_FAILED: [422, 'The request has fields that are not as they should be.'],
  VERSION_MISMATCH: [412, 'It was changed in the meantime; read it again.'],
  CONFLICT: [409, 'That contradicts what is stored.'],
  IDEMPOTENCY_KEY_REUSED: [422, 'This Idempotency-Key was used for another request.'],
  IDEMPOTENCY_KEY_INVALID: [422, 'The Idempotency-Key has 1 to 255 characters.'],
  IDEMPOTENCY_IN_PROGRESS: [409, 'The first request with this Idempotency-Key is still at work.'],
  IDEMPOTENCY_ANSWER_NOT_KEPT: [409, 'It was done, and its answer held a secret that is not kept.'],
  TOO_MANY_REQUESTS: [429, 'Too many attempts.'],
  UNAVAILABLE: [503, 'The service cannot answer at the moment.'],
  EVENT_TOO_LARGE: [413, 'The change is larger than an event may be.'],
  INTERNAL_ERROR: [500, 'Something went wrong on our side.'],
});

/** Whether an error, local or from another node, is the given problem. */
export function isProblem(error: unknown, factory: ProblemFactory): boolean {
  return (error as { type?: unknown } | null)?.type === factory.code;
}
