import { authProblems } from './auth.contract';
import type { PresentedLink } from './sessions.queries';
import { isSameAddress } from './users.rules';

/**
 * Whether a link may still be followed.
 * @throws AUTH_LINK_INVALID, AUTH_LINK_USED or AUTH_LINK_EXPIRED, each on the field `token`
 */
export function assertFollowable(link: PresentedLink | undefined): asserts link is PresentedLink {
  const refuse = (problem: keyof typeof authProblems) =>
    authProblems[problem]({ errors: [{ field: 'token', message: authProblems[problem].title }] });
  if (!link || !isSameAddress(link.address, link.email)) throw refuse('AUTH_LINK_INVALID');
  if (link.isUsed) throw refuse('AUTH_LINK_USED');
  if (link.status !== 'INVITED') throw refuse('AUTH_LINK_INVALID');
  if (link.isExpired) throw refuse('AUTH_LINK_EXPIRED');
}
