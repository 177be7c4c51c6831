import type { ServiceBroker } from 'moleculer';
import { sealLink } from '../../mixins/auth/seal';
import { hashToken, randomToken } from '../../mixins/auth/tokens';
import { configOf } from '../../mixins/config';
import type { Transaction } from '../../mixins/db/transaction';
import { insertLinks } from './sessions.queries';

const INVITE_DAYS = 7;

/** An invitation on its way: what the mail needs, sealed. */
export interface Invite {
  sealed: string;
  expiresAt: string;
}

/**
 * Makes an invite link for each of these people. Stored are hashes; the tokens themselves leave here sealed, and are
 * opened only while a mail is being sent.
 * @returns the invites by the person's id
 */
export async function makeInvites(
  broker: ServiceBroker,
  tx: Transaction,
  companyId: string,
  people: readonly { id: string; email: string }[],
): Promise<Map<string, Invite>> {
  const { sealKeys } = configOf(broker);
  const expiresAt = new Date(Date.now() + INVITE_DAYS * 86_400_000).toISOString();
  const invites = people.map(({ id, email }) => {
    const token = randomToken();
    const sealed = sealLink(sealKeys, token, { userId: id, kind: 'INVITE', address: email });
    return { userId: id, address: email, tokenHash: hashToken(token).toString('base64'), expiresAt, sealed };
  });
  await insertLinks.all(tx, { companyId, kind: 'INVITE', links: JSON.stringify(invites) });
  return new Map(invites.map(({ userId, sealed }) => [userId, { sealed, expiresAt }]));
}
