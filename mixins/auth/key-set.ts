import { createPublicKey, type KeyObject } from 'node:crypto';
import * as z from 'zod';
import { type PublicJwk, toPublicJwk } from './keys';

/** Public keys by their ids. Each is what its id says, so two sets with the same ids are the same. */
export type KeySet = ReadonlyMap<string, { jwk: PublicJwk; publicKey: KeyObject }>;

/** A JSON Web Key Set as far as it matters here (RFC 7517, 5: members that are not understood are ignored). */
const JwkSet = z.object({ keys: z.array(z.unknown()) });

const Jwk = z.object({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string(),
  y: z.string(),
  kid: z.string(),
  alg: z.literal('ES256').optional(),
  use: z.literal('sig').optional(),
});

/**
 * Reads a JSON Web Key Set. A key of another kind, or one whose id is not its thumbprint (RFC 7638), is passed over:
 * whoever could choose ids could put another key in the place of one that is trusted.
 * @throws when the text is no key set, or none of its keys can be used
 */
export function readKeySet(text: string): { keys: KeySet; refused: number } {
  const set = JwkSet.safeParse(parseJson(text));
  if (!set.success) throw new Error('it is no JSON Web Key Set');
  const usable = set.data.keys.flatMap(jwk => toKey(jwk) ?? []);
  if (usable.length === 0) throw new Error('it holds no key for ES256');
  return { keys: new Map(usable.map(key => [key.jwk.kid, key])), refused: set.data.keys.length - usable.length };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toKey(jwk: unknown): { jwk: PublicJwk; publicKey: KeyObject } | undefined {
  const parsed = Jwk.safeParse(jwk);
  if (!parsed.success) return undefined;
  const { kty, crv, x, y, kid } = parsed.data;
  try {
    // Throws for a point that is not on the curve.
    const publicKey = createPublicKey({ format: 'jwk', key: { kty, crv, x, y } });
    const own = toPublicJwk(publicKey);
    return own.kid === kid ? { jwk: own, publicKey } : undefined;
  } catch {
    return undefined;
  }
}
