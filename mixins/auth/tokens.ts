import { createHash, randomBytes } from 'node:crypto';
import jwt from 'jsonwebtoken';
import type { ServiceBroker } from 'moleculer';
import { configOf } from '../config';
import type { Identity } from '../contract';
import { keysOf } from './keys';
import { ACCESS_TOKEN_SECONDS } from './lifetimes';

export { ACCESS_TOKEN_SECONDS, CLOCK_SKEW_SECONDS, REFRESH_TOKEN_DAYS } from './lifetimes';

/** What an access token says, beside `iss`, `aud` and `exp` (RFC 7519). */
interface AccessTokenClaims {
  /** The person. */
  sub: string;
  /** The company. */
  cid: string;
  role: Identity['role'];
  /** The session, which ends with logout. */
  sid: string;
}

/**
 * Signs an access token (JWT, ES256) that says who somebody is for 15 minutes.
 * @returns the token and its life in seconds
 */
export function signAccessToken(broker: ServiceBroker, user: Identity): { accessToken: string; expiresIn: number } {
  const { kid, privateKey } = keysOf(broker).signer();
  const { issuer, audience } = configOf(broker).jwt;
  const claims: AccessTokenClaims = { sub: user.id, cid: user.companyId, role: user.role, sid: user.sessionId };
  const accessToken = jwt.sign(claims, privateKey, {
    algorithm: 'ES256',
    keyid: kid,
    issuer,
    audience,
    expiresIn: ACCESS_TOKEN_SECONDS,
    noTimestamp: true,
  });
  return { accessToken, expiresIn: ACCESS_TOKEN_SECONDS };
}

/** 256 random bits in base64url, 43 characters: a refresh or link token. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url');
}

/** SHA-256 of a random token, 32 bytes: what is stored instead of it. Random tokens need no salt and no slow hash. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
