import { type ActionSchema, type Context, Errors, type ServiceBroker } from 'moleculer';
import { configOf } from '../config';
import type { CommandContext, Identity } from '../contract';
import { commonProblems } from '../errors';
import type { Answer, KeptAnswer, Scope } from './answers';
import { RequestHasher } from './request-hash';

/** One request with an Idempotency-Key, from its arrival to its answer. */
export interface Claim {
  readonly scope: Scope;
  /** The parameters as they came, before they were checked. */
  readonly params: unknown;
  readonly requestHash: Buffer;
  /** The change is durable, and its answer with it. */
  isKept: boolean;
  /** A twin was first: this is what it was answered. */
  twin?: KeptAnswer;
}

// In `locals`, which stay with one call.
const CLAIM = Symbol.for('hiver.idempotency.claim');
type Locals = { [CLAIM]?: Claim };

/** Begins a claim for a call; what runs inside finds it with `claimOf`. */
export function beginClaim(ctx: CommandContext, action: ActionSchema, user: Identity, key: string): Claim {
  const claim: Claim = {
    scope: { companyId: user.companyId, userId: user.id, action: action.name ?? '', key },
    params: ctx.params,
    requestHash: hasherOf(ctx.broker).hash(ctx.params),
    isKept: false,
  };
  Object.assign(ctx.locals, { [CLAIM]: claim });
  // The key was for this command. Calls that its handler makes would find the same key with other parameters.
  delete ctx.meta.idempotencyKey;
  return claim;
}

/** The claim of a call, if it came with a key. */
export function claimOf(ctx: Context<unknown, object>): Claim | undefined {
  return (ctx.locals as Locals)[CLAIM];
}

/** The answer that a call gives, for keeping. */
export function answerOf(ctx: CommandContext, result: unknown): Answer {
  const http = ctx.action?.http;
  return { status: ctx.meta.$statusCode ?? http?.status ?? 200, result, isSecret: http?.secret ?? false };
}

/**
 * Answers a call with what was answered before.
 * @throws IDEMPOTENCY_KEY_REUSED for another request, IDEMPOTENCY_ANSWER_NOT_KEPT where it held a secret, and whatever
 * the first request was refused with
 */
export function replay(ctx: CommandContext, claim: Claim, kept: KeptAnswer): unknown {
  if (!hasherOf(ctx.broker).matches(kept.requestHash, claim.params)) throw commonProblems.IDEMPOTENCY_KEY_REUSED();
  if (kept.isSecret) throw commonProblems.IDEMPOTENCY_ANSWER_NOT_KEPT();
  ctx.meta.$responseHeaders = { ...ctx.meta.$responseHeaders, 'Idempotency-Replayed': 'true' };
  const { problem, status } = kept;
  if (problem) throw new Errors.MoleculerClientError(problem.message, status, problem.type, problem.data);
  ctx.meta.$statusCode = status;
  return kept.result ?? undefined;
}

const HASHER = Symbol.for('hiver.idempotency.hasher');
type Holder = ServiceBroker & { [HASHER]?: RequestHasher };

function hasherOf(broker: ServiceBroker): RequestHasher {
  const holder = broker as Holder;
  const { sealKeys, transportKeys } = configOf(broker);
  // Nodes that send no mails do not hold the keys of mails.
  holder[HASHER] ??= new RequestHasher(sealKeys.length > 0 ? sealKeys : transportKeys);
  return holder[HASHER];
}
