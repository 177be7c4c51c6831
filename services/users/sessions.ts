import type { ServiceBroker } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { endSessions } from '../../mixins/auth/ended-sessions';
import { openUnder, sealUnder } from '../../mixins/auth/seal';
import {
  ACCESS_TOKEN_SECONDS,
  CLOCK_SKEW_SECONDS,
  hashToken,
  REFRESH_TOKEN_DAYS,
  randomToken,
  signAccessToken,
} from '../../mixins/auth/tokens';
import type { Transaction } from '../../mixins/db/transaction';
import { record } from '../../mixins/events/record';
import type { SessionAnswer } from './auth.contract';
import {
  endSession,
  endSessionsOf,
  getPresentedToken,
  insertSession,
  lockSessionOfToken,
  rotateRefreshToken,
} from './sessions.queries';
import { sessionsEnded } from './users.contract';
import type { Person } from './users.model';

/** How long a spent refresh token still gets its successor: the phone's answer was lost in a lift. */
const GRACE_SECONDS = 10;

/** A session as its owner holds it. */
export interface LiveSession {
  sessionId: string;
  companyId: string;
  userId: string;
  refreshToken: string;
}

/** Begins a session for somebody who has just proved who they are. */
export async function startSession(
  tx: Transaction,
  person: { id: string; companyId: string },
  device?: string,
): Promise<LiveSession> {
  const session = { sessionId: uuidv7(), companyId: person.companyId, userId: person.id, refreshToken: randomToken() };
  await insertSession.all(tx, {
    id: session.sessionId,
    companyId: session.companyId,
    userId: session.userId,
    device,
    tokenHash: hashToken(session.refreshToken),
    days: REFRESH_TOKEN_DAYS,
  });
  return session;
}

/**
 * Spends a refresh token for its successor. A token that was spent a moment ago, and whose successor nobody used yet,
 * gets that same successor. Any other spent token is somebody else's copy: the whole session ends.
 * @returns undefined when the token opens nothing (any more); the transaction must still be committed
 */
export async function continueSession(tx: Transaction, refreshToken: string): Promise<LiveSession | undefined> {
  const tokenHash = hashToken(refreshToken);
  if (!(await lockSessionOfToken.maybe(tx, { tokenHash }))) return undefined;
  const presented = await getPresentedToken.one(tx, { tokenHash, graceSeconds: GRACE_SECONDS });
  if (!presented.isLive) return undefined;
  const { sessionId, companyId, userId, successorSealed } = presented;
  if (!presented.isSpent) {
    const successor = randomToken();
    await rotateRefreshToken.all(tx, {
      tokenHash,
      sessionId,
      successorHash: hashToken(successor),
      successorSealed: sealUnder(refreshToken, successor),
      days: REFRESH_TOKEN_DAYS,
    });
    return { sessionId, companyId, userId, refreshToken: successor };
  }
  if (presented.mayBeRepeated && successorSealed) {
    return { sessionId, companyId, userId, refreshToken: openUnder(refreshToken, successorSealed) };
  }
  await closeSession(tx, { companyId, userId, sessionId });
  return undefined;
}

/** Ends one session everywhere. */
export async function closeSession(tx: Transaction, of: { companyId: string; userId: string; sessionId: string }): Promise<void> {
  const ended = await endSession.all(tx, { companyId: of.companyId, id: of.sessionId });
  await announceEnd(tx, of, ended);
}

/** Ends every session of a person everywhere; returns how many there were. */
export async function closeSessionsOf(tx: Transaction, of: { companyId: string; userId: string }): Promise<number> {
  const ended = await endSessionsOf.all(tx, of);
  await announceEnd(tx, of, ended);
  return ended.length;
}

async function announceEnd(tx: Transaction, of: { companyId: string; userId: string }, ended: { id: string }[]): Promise<void> {
  if (ended.length === 0) return;
  const sids = ended.map(({ id }) => id);
  const until = new Date(Date.now() + (ACCESS_TOKEN_SECONDS + CLOCK_SKEW_SECONDS) * 1_000).toISOString();
  await endSessions(tx, sids, until);
  await record(tx, sessionsEnded, { userId: of.userId, companyId: of.companyId, sids, until });
}

/** What somebody who signed in gets to hold. */
export function toSessionAnswer(broker: ServiceBroker, person: Person, session: LiveSession): SessionAnswer {
  const { accessToken, expiresIn } = signAccessToken(broker, {
    id: person.id,
    companyId: person.companyId,
    role: person.role,
    sessionId: session.sessionId,
  });
  return { user: person, accessToken, refreshToken: session.refreshToken, tokenType: 'Bearer', expiresIn };
}
