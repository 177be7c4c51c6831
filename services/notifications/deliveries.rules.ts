import type { UserStatus } from '../users/users.contract';
import { findKind } from './notifications.rules';

type DeliveryStatus = 'PENDING' | 'SENT' | 'FAILED' | 'DEAD' | 'SUPPRESSED';

/** Why something was not told after all. `PERSON_ACTIVE`: an invitation that was accepted meanwhile. */
type SuppressionReason =
  | 'EXPIRED'
  | 'PERSON_UNKNOWN'
  | 'PERSON_REMOVED'
  | `PERSON_${UserStatus}`
  /** A later link was made, or the person has another address now. */
  | 'LINK_OUTDATED';

/** How one try to deliver ended. */
export type Outcome =
  | { result: 'SENT'; providerId: string }
  | { result: 'SUPPRESSED'; reason: SuppressionReason }
  /** Something that it needs has not arrived on this node yet. */
  | { result: 'WAITING'; error: string }
  /** The channel could not be used: nothing was said about this message. */
  | { result: 'UNREACHABLE'; error: string }
  /** Refused for now, or for good. */
  | { result: 'DEFERRED' | 'REJECTED'; error: string };

/** What to note of a try. */
export interface Settlement {
  status: DeliveryStatus;
  reason: SuppressionReason | null;
  error: string | null;
  providerId: string | null;
  /** 1 when the try counts towards giving up. */
  refused: 0 | 1;
  /** Seconds until the next try, where there is one. */
  delaySeconds: number;
}

/** With `REFUSED_FIRST_DELAY` doubled each time, the last of these tries is about 17 hours after the first. */
export const MAX_REFUSALS = 10;
const REFUSED_FIRST_DELAY = 120;
/** How long an unreachable server's return may go unnoticed by a message that has waited for long. */
const UNREACHABLE_MAX_DELAY = 120;
const WAITING_MAX_DELAY = 300;
/** An event about somebody whom no other event tells of is given up after a day. */
const UNKNOWN_FOR_SECONDS = 86_400;
/** The topics of what is told and of people are read side by side: what is known of a person may be that much behind. */
const BEHIND_SECONDS = 60;

/** Doubles with each try, up to a bound, and spreads by a fifth either way, so that tries do not come in step. */
export function backoff(first: number, tries: number, max: number, random: number): number {
  return Math.min(first * 2 ** Math.min(tries - 1, 30), max) * (0.8 + 0.4 * random);
}

/**
 * What follows from a try. Only refusals count towards giving up: a server that is down delays, and loses nothing.
 * @param before tries so far, this one included, and refusals so far, this one not
 * @param random from 0 to 1
 */
export function settle(outcome: Outcome, before: { tries: number; refusals: number }, random: number): Settlement {
  const open = { status: before.refusals > 0 ? ('FAILED' as const) : ('PENDING' as const), reason: null, providerId: null };
  const closed = { reason: null, error: null, providerId: null, refused: 0 as const, delaySeconds: 0 };
  switch (outcome.result) {
    case 'SENT':
      return { ...closed, status: 'SENT', providerId: outcome.providerId };
    case 'SUPPRESSED':
      return { ...closed, status: 'SUPPRESSED', reason: outcome.reason };
    case 'REJECTED':
      return { ...closed, status: 'DEAD', error: outcome.error, refused: 1 };
    case 'DEFERRED': {
      const refusals = before.refusals + 1;
      if (refusals >= MAX_REFUSALS) return { ...closed, status: 'DEAD', error: outcome.error, refused: 1 };
      const delaySeconds = backoff(REFUSED_FIRST_DELAY, refusals, Number.POSITIVE_INFINITY, random);
      return { ...open, status: 'FAILED', error: outcome.error, refused: 1, delaySeconds };
    }
    case 'UNREACHABLE':
      return { ...open, error: outcome.error, refused: 0, delaySeconds: backoff(1, before.tries, UNREACHABLE_MAX_DELAY, random) };
    case 'WAITING':
      return { ...open, error: outcome.error, refused: 0, delaySeconds: backoff(1, before.tries, WAITING_MAX_DELAY, random) };
  }
}

/** What decides whether a notification is still to be told. */
export interface Wish {
  kind: string;
  createdAt: string;
  expiresAt: string | null;
  isSuperseded: boolean;
  person: { status: UserStatus; removedAt: string | null } | null;
  company: object | null;
}

/**
 * Looks once more, just before sending: the person may be gone, the invitation accepted, the time over.
 * @returns what to do instead of sending, or `undefined` when it is still wanted
 */
export function whyNotToSend(wish: Wish, now: Date): Outcome | undefined {
  const { person, company } = wish;
  const age = ageOf(wish, now);
  if (wish.expiresAt !== null && Date.parse(wish.expiresAt) <= now.getTime()) return suppressed('EXPIRED');
  if (wish.isSuperseded) return suppressed('LINK_OUTDATED');
  if (person?.removedAt) return suppressed('PERSON_REMOVED');
  if (!person || !company) {
    return age > UNKNOWN_FOR_SECONDS ? suppressed('PERSON_UNKNOWN') : waiting('The person or their company is not known yet');
  }
  const kind = findKind(wish.kind);
  if (!kind) return waiting(`This node knows no kind ${wish.kind}`);
  if (kind.audience.includes(person.status)) return undefined;
  return age > BEHIND_SECONDS ? suppressed(`PERSON_${person.status}`) : waiting(`The person is ${person.status}`);
}

/** What to do when the token was sealed for another address than the person has: the news of theirs may be on its way. */
export function whyNotWithLink(wish: Wish, now: Date): Outcome {
  return ageOf(wish, now) > UNKNOWN_FOR_SECONDS
    ? suppressed('LINK_OUTDATED')
    : waiting('The link was sealed for another address than the person has');
}

const suppressed = (reason: SuppressionReason): Outcome => ({ result: 'SUPPRESSED', reason });
const waiting = (error: string): Outcome => ({ result: 'WAITING', error });
const ageOf = ({ createdAt }: Wish, now: Date) => (now.getTime() - Date.parse(createdAt)) / 1_000;
