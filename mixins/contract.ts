import type { ActionSchema, CallingOptions, Context } from 'moleculer';
import { Validators } from 'moleculer';
import * as z from 'zod';
import { boundedErrors, commonProblems, type FieldError, type ProblemFactory } from './errors';

export const ROLES = ['ADMIN', 'MANAGER', 'EMPLOYEE'] as const;
export const Role = z.enum(ROLES, { error: `must be one of ${ROLES.join(', ')}` });
export type Role = z.infer<typeof Role>;

/** Who may call an action: anyone, only other services, whoever is signed in, or the roles named. */
export type Auth = 'public' | 'internal' | 'authenticated' | readonly Role[];

/** Who is calling, as the access token says it. */
export interface Identity {
  id: string;
  companyId: string;
  role: Role;
  sessionId: string;
}

/** What travels with a request through every service that it touches. */
export interface Meta {
  /** The bearer token, not yet looked at. */
  token?: string;
  /** Set by the authentication middleware, never by a caller. */
  user?: Identity;
  /** Address of the client, IPv6 cut to its /64. */
  clientAddress?: string;
  /** Version that `If-Match` demands. */
  ifMatch?: number;
  idempotencyKey?: string;
  /** Answer headers and status, as moleculer-web reads them. */
  $statusCode?: number;
  $responseHeaders?: Record<string, string>;
}

type SignedIn = Meta & { user: Identity };
/** Actions for signed-in people see `ctx.meta.user` without a question mark. */
export type ActionContext<P, A extends Auth = 'authenticated'> = Context<P, A extends 'public' | 'internal' ? Meta : SignedIn>;
/** The context of a command, whatever its parameters; nobody is signed in where it is a public one. */
export type CommandContext = Context<unknown, Meta>;

/** Facts about an action that HTTP and its documentation need. Plain data: a gateway on another node reads them too. */
export interface HttpFacts {
  /** One sentence, imperative, for the reader of the API's documentation. */
  summary: string;
  description?: string;
  /** `'POST /:id/approve'`, below the service's name; `fullPath` where a standard dictates the path. */
  rest?: string | { method: string; fullPath: string };
  /** Status of success; 200 unless told. */
  status?: 200 | 201 | 204;
  /** A second status of success, which the handler chooses by `ctx.meta.$statusCode`. */
  otherStatus?: 200 | 201;
  /** Where the created thing is found, with fields of the answer in braces: `/users/{id}`. */
  location?: string;
  /** Content type of the request's body; JSON unless told. With `text/csv` the bytes arrive as `csv`. */
  body?: 'application/json' | 'text/csv';
  /** Largest body in bytes; 1 MB unless told. */
  bodyLimit?: number;
  /** Parameters of a POST, PUT or PATCH that stand in the query, not in the body. */
  query?: readonly string[];
  /** The answer holds a secret: it is never kept for a repeated Idempotency-Key. */
  secret?: boolean;
  /** `If-Match` is looked at; the answer carries an `ETag`. */
  versioned?: boolean;
  /** Largest time for the call in milliseconds, where the broker's default is too short. */
  timeout?: number;
  /** A call that another node did not answer may be repeated; true for every GET, unless told. */
  idempotent?: boolean;
}

/** The promise of an action: its name, what it takes, what it gives, what may go wrong. */
export interface ActionContract<P extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly params: P;
  readonly returns: R;
  readonly problems: readonly ProblemFactory[];
  /** Calls the action from another service, typed on both sides. */
  call(ctx: Pick<Context, 'call'>, params: z.input<P>, opts?: CallingOptions): Promise<z.output<R>>;
}

/**
 * Declares what an action promises. The schema of `params` is the type, the run-time check and the documentation of
 * requests; `returns` of answers: what it does not name never leaves.
 * @param name full name of the action, such as `users.get`; also its `operationId`
 */
export function contract<P extends z.ZodType, R extends z.ZodType>(
  name: string,
  promise: { params: P; returns: R; problems?: readonly ProblemFactory[] },
): ActionContract<P, R> {
  return {
    name,
    params: promise.params,
    returns: promise.returns,
    problems: promise.problems ?? [],
    call: (ctx, params, opts) => ctx.call(name, params as never, opts) as never,
  };
}

/** Contract of an action that answers nothing (204). */
export const Nothing = z.void();

// Moleculer clones schemas deeply, which would strip zod's types of their methods; lodash keeps functions as they are.
const PARSE = Symbol.for('hiver.contract.parse');
export type Guard = { [PARSE]: (value: unknown) => z.ZodSafeParseResult<unknown> };

/** Wraps a zod schema so that it survives Moleculer's cloning as the `params` of an action or event. */
export function guard(schema: z.ZodType): Guard {
  return { [PARSE]: value => schema.safeParse(value) };
}

declare module 'moleculer' {
  namespace Service {
    interface ActionSchema {
      auth?: Auth;
      http?: HttpFacts;
      rest?: HttpFacts['rest'];
      contract?: () => ActionContract;
    }
  }
}

/**
 * An action that keeps a contract. `auth` has no default: forgetting it does not compile.
 * The handler's `this` is the service that the action stands in.
 */
export function action<P extends z.ZodType, R extends z.ZodType, const A extends Auth, T>(
  kept: ActionContract<P, R>,
  definition: HttpFacts & {
    auth: A;
    handler: (ctx: ActionContext<z.output<P>, A>) => Promise<z.input<R>> | z.input<R>;
  } & ThisType<T>,
): ActionSchema<T> {
  const { auth, handler, rest, timeout, idempotent = isGet(rest), ...facts } = definition;
  const schema = {
    params: guard(kept.params),
    auth,
    rest,
    timeout,
    retryPolicy: { enabled: idempotent },
    http: { ...facts, rest },
    visibility: rest ? 'published' : 'public',
    contract: () => kept,
    async handler(this: T, ctx: never) {
      const answer = kept.returns.safeParse(await handler.call(this as never, ctx));
      if (answer.success) return answer.data;
      throw new Error(`${kept.name} broke its contract: ${z.prettifyError(answer.error)}`);
    },
  };
  return schema as unknown as ActionSchema<T>;
}

function isGet(rest: HttpFacts['rest']): boolean {
  return (typeof rest === 'object' ? rest.method : (rest?.split(' ')[0] ?? '')) === 'GET';
}

/** Turns zod's issues into fields with messages; every one names a field. */
export function toFieldErrors(issues: readonly z.core.$ZodIssue[], prefix: PropertyKey[] = []): FieldError[] {
  return issues.flatMap(issue => {
    const path = [...prefix, ...issue.path];
    const at = (more: PropertyKey[]) => [...path, ...more].map(String).join('.') || 'body';
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(key => ({ field: at([key]), message: 'There is no such field.' }));
    }
    if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      // The branch with the fewest complaints is the one that was meant.
      const [closest] = [...issue.errors].sort((a, b) => a.length - b.length);
      return toFieldErrors(closest ?? [], path);
    }
    return [{ field: at([]), message: issue.message }];
  });
}

/** Runs the zod schema of actions and events that keep a contract; everything else is fastest-validator's. */
export class ContractValidator extends Validators.Fastest {
  override compile(schema: object): ReturnType<Validators.Fastest['compile']> {
    const parse = (schema as Partial<Guard>)[PARSE];
    if (!parse) return super.compile(schema as never);
    const check = (value: unknown, { meta: ctx }: { meta: { params: unknown } }) => {
      const result = parse(value);
      if (!result.success) throw commonProblems.VALIDATION_FAILED({ errors: boundedErrors(toFieldErrors(result.error.issues)) });
      ctx.params = result.data;
      return true;
    };
    return check as never;
  }
}
