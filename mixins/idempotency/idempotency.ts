import type { CommandContext } from '../contract';
import type { Transaction } from '../db/transaction';
import { commonProblems } from '../errors';
import { claimKey, findAnswer, keepAnswer, limitLockWait } from './answers';
import { answerOf, type Claim, claimOf } from './claim';

/** How long a repeated command waits for the first one. */
const WAIT_FOR_TWIN = '2s';
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Runs a command under the Idempotency-Key of its request: once, however often it is asked for. The key is claimed
 * before the change and the answer written after it, in the same transaction, so that no crash leaves one without the
 * other. Without a key it just runs.
 * @param work the change; its result is the action's answer
 * @throws IDEMPOTENCY_IN_PROGRESS when the first request does not end in time
 */
export async function idempotent<T>(ctx: CommandContext, tx: Transaction, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const claim = claimOf(ctx);
  if (!claim) return work(tx);
  if (claim.isKept) throw new Error(`${claim.scope.action} has two transactions: the answer to its key would be the first one's`);
  if (!(await claimInTime(tx, claim))) await stepBack(tx, claim);
  const result = await work(tx);
  await keepAnswer(tx, claim.scope, answerOf(ctx, answered(ctx, result)));
  tx.afterCommit(() => {
    claim.isKept = true;
  });
  return result;
}

/**
 * Takes the key of a claim for this transaction.
 * @returns false when a twin has used it
 * @throws IDEMPOTENCY_IN_PROGRESS when a twin holds it for too long
 */
export async function claimInTime(tx: Transaction, { scope, requestHash }: Claim): Promise<boolean> {
  await limitLockWait.all(tx, { timeout: WAIT_FOR_TWIN });
  const claimed = await claimKey.maybe(tx, { ...scope, requestHash }).catch(error => {
    throw error.code === LOCK_NOT_AVAILABLE ? inProgress() : error;
  });
  await limitLockWait.all(tx, { timeout: '0' });
  return claimed !== undefined;
}

/** Ends this transaction with nothing done; the middleware then answers what the twin was answered. */
async function stepBack(tx: Transaction, claim: Claim): Promise<never> {
  const twin = await findAnswer.maybe(tx, claim.scope);
  if (twin) claim.twin = twin;
  throw inProgress();
}

/** The answer as it leaves: what the contract does not name stays here, also in what is kept. */
function answered(ctx: CommandContext, result: unknown): unknown {
  const returns = ctx.action?.contract?.().returns;
  return returns ? returns.parse(result) : result;
}

function inProgress(): Error {
  return commonProblems.IDEMPOTENCY_IN_PROGRESS({ retryAfter: 1 });
}
