import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { deriveKey, type SealKey } from '../auth/seal';

/**
 * A request's parameters as one text: the same for the same content, in whatever order its fields came. Bytes stand
 * there as their digest.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value)) ?? 'null';
}

function sorted(value: unknown): unknown {
  if (value instanceof Uint8Array) return { sha256: createHash('sha256').update(value).digest('base64url') };
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  // Pairs, not an object: an object would put keys that look like numbers first and take `__proto__` for its own.
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => [key, sorted(field)]);
  return { fields };
}

/**
 * Tells requests apart without keeping them: a keyed hash, since a plain one of a short body could be found by trying
 * (RFC 2104).
 */
export class RequestHasher {
  readonly #keys: readonly Buffer[];

  /** @param keys the server's keys; hashes are made with the first one and recognised with any */
  constructor(keys: readonly SealKey[]) {
    this.#keys = keys.map(({ key }) => deriveKey(key, 'hiver: hash of a request'));
  }

  hash(params: unknown): Buffer {
    const [key] = this.#keys;
    if (!key) throw new Error('There is no key to hash requests with: SEAL_KEYS and TRANSPORT_KEY are missing');
    return hmac(key, canonicalJson(params));
  }

  /** Whether a hash, also one from before the last change of keys, is that of the parameters. */
  matches(hash: Uint8Array, params: unknown): boolean {
    const text = canonicalJson(params);
    return this.#keys.some(key => timingSafeEqual(hmac(key, text), hash));
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
