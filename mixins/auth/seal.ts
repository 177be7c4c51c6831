import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** A symmetric key of 32 bytes and the id that stands in front of what it sealed. */
export interface SealKey {
  id: string;
  key: Buffer;
}

/** What a sealed link token is bound to: sealed for one, it opens for no other. */
export interface LinkPurpose {
  userId: string;
  /** Name of the kind of link, such as `INVITE`. */
  kind: string;
  /** The mailbox that it is sent to. */
  address: string;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Seals a text with AES-256-GCM and a fresh random nonce (NIST SP 800-38D).
 * @param keys the first one seals
 * @param aad additional data: not in the result, but needed to open it
 * @returns `<key id>.<nonce, ciphertext and tag in base64url>`
 */
export function seal(keys: readonly SealKey[], plaintext: string, aad: string): string {
  const [sealing] = keys;
  if (!sealing) throw new Error('There is no key to seal with: SEAL_KEYS is missing');
  return `${sealing.id}.${encrypt(sealing.key, plaintext, aad)}`;
}

/**
 * Opens what `seal` made.
 * @param keys all of them open; which one is needed stands in front
 * @throws when the key is not among them, the additional data differ, or the text was changed
 */
export function open(keys: readonly SealKey[], sealed: string, aad: string): string {
  const [id, encrypted = ''] = sealed.split('.', 2);
  const opening = keys.find(key => key.id === id);
  if (!opening) throw new Error('It was sealed with a key that is not known here');
  return decrypt(opening.key, encrypted, aad);
}

/** Seals a link token for its way to a mail. */
export function sealLink(keys: readonly SealKey[], token: string, purpose: LinkPurpose): string {
  return seal(keys, token, bindingOf(purpose));
}

/**
 * Opens a link token while its mail is being sent.
 * @throws when it was sealed for another person, kind or mailbox, or by a key that is not known
 */
export function openLink(keys: readonly SealKey[], sealed: string, purpose: LinkPurpose): string {
  return open(keys, sealed, bindingOf(purpose));
}

/**
 * Seals a text under a secret token that is itself stored nowhere, so that only who presents the token can have it
 * opened: a copy of the database opens nothing.
 * @param token 256 random bits
 */
export function sealUnder(token: string, plaintext: string): string {
  return encrypt(keyUnder(token), plaintext, '');
}

/**
 * Opens what `sealUnder` made.
 * @throws when it was sealed under another token
 */
export function openUnder(token: string, sealed: string): string {
  return decrypt(keyUnder(token), sealed, '');
}

/** A key for one use, derived from a strong secret (HKDF, RFC 5869). */
export function deriveKey(secret: string | Buffer, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', use, 32));
}

function keyUnder(token: string): Buffer {
  return deriveKey(token, 'hiver: successor of a refresh token');
}

// JSON, because joined texts could be cut elsewhere and still give the same bytes.
function bindingOf({ userId, kind, address }: LinkPurpose): string {
  return JSON.stringify([userId, kind, address]);
}

function encrypt(key: Buffer, plaintext: string, aad: string): string {
  return Buffer.concat(sealBytes(key, Buffer.from(plaintext), Buffer.from(aad))).toString('base64url');
}

function decrypt(key: Buffer, encrypted: string, aad: string): string {
  return openBytes(key, Buffer.from(encrypted, 'base64url'), Buffer.from(aad)).toString('utf8');
}

/**
 * Seals bytes with AES-256-GCM and a fresh random nonce (NIST SP 800-38D; good for 2^32 messages of one key).
 * @param aad additional data: not in the result, but needed to open it
 * @returns nonce, ciphertext and tag, to be put one behind the other
 */
export function sealBytes(key: Buffer, bytes: Buffer, aad: Buffer): Buffer[] {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(aad);
  return [nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()];
}

/**
 * Opens what `sealBytes` made.
 * @throws when it was sealed by another key or with other additional data, or was changed
 */
export function openBytes(key: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new Error('It is too short to have been sealed');
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    .setAAD(aad)
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
}
