import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { commonProblems } from '../../mixins/errors';

/**
 * OWASP REST Security Cheat Sheet, "Security Headers". Answers are data: nothing in them may be run, framed, embedded
 * or kept by a cache.
 */
export const SECURITY_HEADERS: readonly (readonly [name: string, value: string])[] = [
  ['Cache-Control', 'no-store'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Permissions-Policy', 'camera=(), geolocation=(), microphone=()'],
];

/** A year; RFC 6797 wants it on secure connections only, which here end at a proxy. */
export const HSTS = 'max-age=31536000';

/** The client's own id of the request, or a new one where it sent none or an unsafe one. */
export function requestIdOf(req: IncomingMessage): string {
  const given = req.headers['x-request-id'];
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
}

/** The credentials of RFC 6750, section 2.1; undefined where there are none of that kind. */
export function bearerToken(req: IncomingMessage): string | undefined {
  return /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(req.headers.authorization ?? '')?.[1];
}

/** No stored version is ever this one. */
const NO_VERSION = -1;

/**
 * The version that `If-Match` demands; undefined where anything will do. Weak validators never match (RFC 9110,
 * section 13.1.1), nor does what is no version of ours.
 */
export function ifMatchOf(req: IncomingMessage): number | undefined {
  const given = req.headers['if-match']?.trim();
  if (given === undefined || given === '*') return undefined;
  const version = /^"([1-9][0-9]{0,14})"$/.exec(given)?.[1];
  return version === undefined ? NO_VERSION : Number(version);
}

/**
 * The value of `Idempotency-Key`, quoted as the draft standard says or bare as most clients send it.
 * @throws IDEMPOTENCY_KEY_INVALID
 */
export function idempotencyKeyOf(req: IncomingMessage): string | undefined {
  const given = req.headers['idempotency-key'];
  if (given === undefined) return undefined;
  const key = String(given);
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(key)?.[1]?.replace(/\\(["\\])/g, '$1');
  const bare = /^[\x21\x23-\x7e]+$/.test(key) ? key : '';
  const value = quoted ?? bare;
  if (value.length < 1 || value.length > 255) throw commonProblems.IDEMPOTENCY_KEY_INVALID();
  return value;
}
