import { openLink } from '../../mixins/auth/seal';
import type { Config } from '../../mixins/config';
import { chooseLocale, render } from '../../mixins/mail/content';
import { type Mailer, MailFailure } from '../../mixins/mail/mailer';
import type { DueDelivery } from './deliveries.queries';
import { type Outcome, whyNotToSend, whyNotWithLink } from './deliveries.rules';
import { findKind } from './notifications.rules';

type Settings = Pick<Config, 'appUrl' | 'sealKeys'>;

/**
 * Tries to deliver one notification by mail, in the language and zone that its reader has now.
 * @returns how that ended; what a server refuses is no error
 * @throws when the mail cannot be made
 */
export async function deliverByMail(mailer: Mailer, settings: Settings, due: DueDelivery): Promise<Outcome> {
  const reason = whyNotToSend(due, new Date());
  if (reason) return reason;
  const { kind, person, company } = ready(due);

  let link = '';
  if (kind.link) {
    const token = openToken(settings, due.sealed ?? '', { userId: person.id, kind: kind.link.sealedAs, address: person.email });
    if (token === undefined) return whyNotWithLink(due, new Date());
    link = `${settings.appUrl}${kind.link.path}?token=${token}`;
  }
  const locale = chooseLocale(person.locale, company.locale);
  const content = kind.mail[locale]({ person, company, params: due.params as never, link });
  const to = { name: `${person.firstName} ${person.lastName}`, address: person.email };
  try {
    return { result: 'SENT', providerId: await mailer.send({ ...render(content, locale), id: due.notificationId, to }) };
  } catch (error) {
    if (error instanceof MailFailure) return { result: error.verdict, error: error.message };
    throw error;
  }
}

function ready({ kind, person, company }: DueDelivery) {
  const known = findKind(kind);
  if (!known || !person || !company) throw new Error(`A notification of kind ${kind} was tried before it could be`);
  return { kind: known, person, company };
}

/**
 * The token in clear, or `undefined` when it was sealed for another address.
 * @throws when it was sealed with a key that this node has not: for an operator to mend, not a reason to drop it
 */
function openToken({ sealKeys }: Settings, sealed: string, purpose: Parameters<typeof openLink>[2]): string | undefined {
  const [keyId] = sealed.split('.', 1);
  if (!sealKeys.some(({ id }) => id === keyId)) throw new Error(`The link was sealed with key ${keyId}, which SEAL_KEYS has not`);
  try {
    return openLink(sealKeys, sealed, purpose);
  } catch {
    return undefined;
  }
}
