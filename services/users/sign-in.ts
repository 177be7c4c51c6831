import { verifyPassword } from '../../mixins/auth/passwords';
import { assertNotThrottled, recordFailure } from '../../mixins/auth/throttle';
import type { CommandContext } from '../../mixins/contract';
import type { Queryable } from '../../mixins/db/statement';
import { type Candidate, listLoginCandidates } from './sessions.queries';

/**
 * Accounts that one sign-in looks at. An unverified sign-up reserves no address, so several may share one; each costs
 * a hash.
 */
const MOST_CANDIDATES = 5;

/** Active accounts with that address; the verified one first. */
export function findCandidates(on: Queryable, email: string): Promise<Candidate[]> {
  return listLoginCandidates.all(on, { email, most: MOST_CANDIDATES });
}

/**
 * Looks for the account that an address and a password belong to. Whoever calls says with `noteFailure` when there is
 * none.
 * @returns the account, undefined when there is none; and the accounts that were looked at
 * @throws TOO_MANY_REQUESTS after too many failures, then also for the right password
 */
export async function findAccount(
  on: Queryable,
  ctx: CommandContext,
  { email, password }: { email: string; password: string },
): Promise<{ account: Candidate | undefined; candidates: Candidate[] }> {
  const attempt = { email, clientAddress: ctx.meta.clientAddress };
  await assertNotThrottled(on, attempt);
  const candidates = await findCandidates(on, email);
  const account = await findOpenedBy(candidates, password);
  if (account) await assertNotThrottled(on, attempt);
  return { account, candidates };
}

/**
 * Counts a wrong password, against the account, known or not, and against the client's address.
 * @throws TOO_MANY_REQUESTS when others used the limit up meanwhile
 */
export function noteFailure(on: Queryable, ctx: CommandContext, email: string): Promise<void> {
  return recordFailure(on, { email, clientAddress: ctx.meta.clientAddress });
}

/**
 * Which of the accounts the password opens. Where there is none a dummy hash is verified: known, unknown, invited,
 * deactivated and password-less accounts answer alike, in alike time.
 */
async function findOpenedBy(candidates: readonly Candidate[], password: string): Promise<Candidate | undefined> {
  if (candidates.length === 0) await verifyPassword(null, password);
  for (const candidate of candidates) {
    if (await verifyPassword(candidate.passwordHash, password)) return candidate;
  }
  return undefined;
}
