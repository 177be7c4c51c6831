import type { ActionSchema, Context, Errors, Middleware, Service } from 'moleculer';
import type { CommandContext } from '../contract';
import type { Database } from '../db/database';
import { commonProblems } from '../errors';
import { type Answer, findAnswer, type KeptAnswer, keepAnswer } from './answers';
import { answerOf, beginClaim, type Claim, replay } from './claim';
import { claimInTime } from './idempotency';

/**
 * Answers a repeated `Idempotency-Key` with the first answer, for every POST of somebody who is signed in. Belongs
 * inside authentication and outside the validator: a repeated request is recognised by what was sent, and its answer
 * needs nothing of what the handler would read.
 *
 * The change itself keeps its answer (`idempotent`); here are kept the refusals, and answers that came without a change.
 */
export const Idempotency: Middleware = {
  name: 'Idempotency',

  localAction(next, action) {
    if (!takesKey(action)) return next;
    return function withKey(this: Service, ctx: Context) {
      const command = ctx as CommandContext;
      const { idempotencyKey, user } = command.meta;
      if (idempotencyKey === undefined || !user) return next.call(this, ctx);
      const { db } = ctx.service as Service & { db?: Database };
      if (!db) return next.call(this, ctx);
      return once(command, db, beginClaim(command, action, user, idempotencyKey), async () => next.call(this, ctx));
    };
  },
};

async function once(ctx: CommandContext, db: Database, claim: Claim, run: () => Promise<unknown>): Promise<unknown> {
  const known = await findAnswer.maybe(db, claim.scope);
  if (known) return replay(ctx, claim, known);
  const outcome = await run().then(
    result => ({ result, answer: answerOf(ctx, result) }),
    (error: unknown) => ({ error, answer: refusalOf(error) }),
  );
  const first = claim.twin ?? (claim.isKept || !outcome.answer ? undefined : await keep(db, claim, outcome.answer));
  if (first) return replay(ctx, claim, first);
  if ('error' in outcome) throw outcome.error;
  return outcome.result;
}

/**
 * Keeps an answer that no transaction of the command has kept. Where that fails the answer is given all the same: it is
 * true, and a repeated request gets it anew.
 * @returns the answer of a twin that was first: both are to hear the same
 */
function keep(db: Database, claim: Claim, answer: Answer): Promise<KeptAnswer | undefined> {
  const kept = db.inTransaction(undefined, async tx => {
    if (!(await claimInTime(tx, claim))) return findAnswer.maybe(tx, claim.scope);
    await keepAnswer(tx, claim.scope, answer);
    return undefined;
  });
  return kept.catch(() => undefined);
}

const KEPT_REFUSALS = new Set([404, 409, 422]);
/** Not the handler's: the request was never looked at, or is still under way. */
const NOT_KEPT = new Set([
  commonProblems.VALIDATION_FAILED.code,
  commonProblems.IDEMPOTENCY_IN_PROGRESS.code,
  commonProblems.IDEMPOTENCY_KEY_REUSED.code,
  commonProblems.IDEMPOTENCY_ANSWER_NOT_KEPT.code,
]);

/** A refusal that would be the same the next time. */
function refusalOf(error: unknown): Answer | undefined {
  const { message, code, type, data } = error as Partial<Errors.MoleculerError>;
  if (!message || !type || !code || !KEPT_REFUSALS.has(code) || NOT_KEPT.has(type)) return undefined;
  return { status: code, problem: { message, type, data }, isSecret: false };
}

/** Whether an action heeds the header: a POST for people who are signed in. Sign-in itself, `/auth/…`, ignores it. */
function takesKey(action: ActionSchema): boolean {
  const { auth, rest, service } = action as ActionSchema & { service?: Service };
  if (auth === undefined || auth === 'public' || auth === 'internal' || service?.name === 'auth') return false;
  const method = typeof rest === 'string' ? rest.split(' ')[0] : rest?.method;
  return method === 'POST';
}
