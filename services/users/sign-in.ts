import { createHash } from 'node:crypto';
import { hashPassword } from '../../mixins/auth/passwords';
import { assertNotThrottled } from '../../mixins/auth/throttle';
import type { CommandContext } from '../../mixins/contract';
import type { Database } from '../../mixins/db/database';
import { type Account, findAccountByHash, getLoginSecret } from './sessions.queries';

const secrets = new WeakMap<Database, Promise<Buffer>>();

function secretOf(db: Database): Promise<Buffer> {
  const known = secrets.get(db) ?? getLoginSecret.one(db, {}).then(row => row.secret);
  secrets.set(db, known);
  known.catch(() => secrets.delete(db));
  return known;
}

/**
 * The hash of a password for an address. Its salt is made from the address and a secret of the database, so it cannot
 * be prepared for before the database leaks, and is the same for every account of that address: one hash finds the
 * account, whether there is none, one or many, and takes the same time.
 */
export async function hashFor(db: Database, email: string, password: string): Promise<string> {
  const salt = createHash('sha256')
    .update(await secretOf(db))
    .update(email.toLowerCase())
    .digest();
  return hashPassword(password, salt.subarray(0, 16));
}

/**
 * Looks for the account that an address and a password belong to.
 * @throws TOO_MANY_REQUESTS after too many failures, then also for the right password
 */
export async function findAccount(
  db: Database,
  ctx: CommandContext,
  { email, password }: { email: string; password: string },
): Promise<{ account: Account | undefined; passwordHash: string }> {
  const attempt = attemptAt(ctx, email);
  await assertNotThrottled(db, attempt);
  const passwordHash = await hashFor(db, email, password);
  const account = await findAccountByHash.maybe(db, { email, passwordHash });
  if (account) await assertNotThrottled(db, attempt);
  return { account, passwordHash };
}

/** What a wrong password counts against: the account, known or not, and the client's address. */
export function attemptAt(ctx: CommandContext, email: string): { email: string; clientAddress: string | undefined } {
  return { email, clientAddress: ctx.meta.clientAddress };
}
