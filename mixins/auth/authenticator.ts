import jwt from 'jsonwebtoken';
import { LRUCache } from 'lru-cache';
import type { ServiceBroker } from 'moleculer';
import { configOf } from '../config';
import { type Identity, Role } from '../contract';
import { commonProblems } from '../errors';
import { keySourceOf } from './key-source';
import type { KeySource } from './keys';
import { CLOCK_SKEW_SECONDS } from './lifetimes';

/** A token that was verified, and what must be looked at each time it is shown again. */
interface Verified {
  user: Identity;
  kid: string;
  /** Instant in milliseconds from which on it is not accepted any more. */
  expiresAt: number;
}

const CACHED_TOKENS = 10_000;

/** Tells from access tokens who is calling. One for each broker; its cache spares the signature's check. */
export class Authenticator {
  readonly #verified = new LRUCache<string, Verified>({ max: CACHED_TOKENS });
  readonly #endedSessions = new Map<string, number>();
  readonly #own = new WeakSet<Identity>();

  constructor(
    private readonly keys: KeySource,
    private readonly expected: { issuer: string; audience: string },
  ) {}

  /**
   * Who a token was given to.
   * @throws UNAUTHENTICATED when it is missing, malformed, forged, expired, of another issuer or audience, or of an
   * ended session; UNAVAILABLE when no key is known at all
   */
  async verify(token: string | undefined): Promise<Identity> {
    if (!token) throw commonProblems.UNAUTHENTICATED();
    const known = this.#verified.get(token) ?? (await this.#check(token));
    if (!this.#isGood(known)) {
      this.#verified.delete(token);
      throw commonProblems.UNAUTHENTICATED();
    }
    return known.user;
  }

  /**
   * Whether an identity came out of `verify` here: then it needs no second look during the same call. One that came
   * with a message from elsewhere never does.
   */
  isOwn(user: Identity | undefined): user is Identity {
    return user !== undefined && this.#own.has(user);
  }

  /** Whether a session's tokens are refused. */
  isEnded(sessionId: string): boolean {
    return this.#endedSessions.has(sessionId);
  }

  /**
   * Refuses the tokens of a session from now on.
   * @param until instant in milliseconds at which the last of them has expired
   */
  endSession(sessionId: string, until: number): void {
    this.#endedSessions.set(sessionId, until);
  }

  /** Forgets ended sessions whose tokens have all expired. */
  forgetExpired(now = Date.now()): void {
    for (const [sessionId, until] of this.#endedSessions) {
      if (until < now) this.#endedSessions.delete(sessionId);
    }
  }

  #isGood({ user, kid, expiresAt }: Verified): boolean {
    return Date.now() < expiresAt && !this.#endedSessions.has(user.sessionId) && this.keys.find(kid) !== undefined;
  }

  async #check(token: string): Promise<Verified> {
    const kid = keyIdOf(token);
    if (!this.keys.find(kid)) await this.keys.refetch();
    const key = this.keys.find(kid);
    if (!key) throw commonProblems.UNAUTHENTICATED();
    const verified = { ...this.#claims(token, key), kid };
    this.#verified.set(token, verified);
    this.#own.add(verified.user);
    return verified;
  }

  #claims(token: string, key: NonNullable<ReturnType<KeySource['find']>>): Omit<Verified, 'kid'> {
    try {
      const claims = jwt.verify(token, key, {
        ...this.expected,
        algorithms: ['ES256'],
        clockTolerance: CLOCK_SKEW_SECONDS,
      }) as jwt.JwtPayload;
      const { sub, cid, sid, role, exp } = claims;
      return {
        user: Object.freeze({ id: text(sub), companyId: text(cid), role: Role.parse(role), sessionId: text(sid) }),
        expiresAt: (number(exp) + CLOCK_SKEW_SECONDS) * 1_000,
      };
    } catch {
      throw commonProblems.UNAUTHENTICATED();
    }
  }
}

function keyIdOf(token: string): string {
  try {
    return text(jwt.decode(token, { complete: true })?.header.kid);
  } catch {
    throw commonProblems.UNAUTHENTICATED();
  }
}

function text(claim: unknown): string {
  if (typeof claim !== 'string') throw new TypeError('A claim is missing');
  return claim;
}

function number(claim: unknown): number {
  if (typeof claim !== 'number') throw new TypeError('A claim is missing');
  return claim;
}

const AUTHENTICATOR = Symbol.for('hiver.authenticator');
type Holder = ServiceBroker & { [AUTHENTICATOR]?: Authenticator };

/** The authenticator of this broker. */
export function authenticatorOf(broker: ServiceBroker): Authenticator {
  const holder = broker as Holder;
  if (!holder[AUTHENTICATOR]) {
    const { issuer, audience } = configOf(broker).jwt;
    holder[AUTHENTICATOR] = new Authenticator(keySourceOf(broker), { issuer, audience });
  }
  return holder[AUTHENTICATOR];
}
