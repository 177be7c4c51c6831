import type { ServiceBroker } from 'moleculer';
import { sealLink } from '../../mixins/auth/seal';
import { hashToken, randomToken } from '../../mixins/auth/tokens';
import { configOf } from '../../mixins/config';
import type { Transaction } from '../../mixins/db/transaction';
import { linkTokens } from './sessions.queries';

const INVITE_DAYS = 7;

/** An invitation on its way: what the mail needs, sealed. */
export interface Invite {
  sealed: string;
  expiresAt: string;
}

/**
 * Makes an invite link for each of these people. Stored are hashes; the tokens themselves leave here sealed, and are
 * opened only while a mail is being sent.
 * @returns the invites, in the order of the people
 */
export function makeInvites(
  broker: ServiceBroker,
  tx: Transaction,
  people: readonly { id: string; companyId: string; email: string }[],
): Invite[] {
  const { sealKeys } = configOf(broker);
  const expiresAt = new Date(Date.now() + INVITE_DAYS * 86_400_000).toISOString();
  return people.map(({ id, companyId, email }) => {
    const token = randomToken();
    const tokenHash = hashToken(token).toString('base64');
    tx.writeAtEnd(linkTokens, [{ tokenHash, companyId, userId: id, kind: 'INVITE', address: email, expiresAt }]);
    return { sealed: sealLink(sealKeys, token, { userId: id, kind: 'INVITE', address: email }), expiresAt };
  });
}
