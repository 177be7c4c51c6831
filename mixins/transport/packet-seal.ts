import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { SealKey } from '../auth/seal';

const FORMAT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Seals bytes with AES-256-GCM and a fresh random nonce (NIST SP 800-38D; good for 2^32 packets of one key).
 * The result is: a byte for the format, a byte for the length of the key's id, the id, nonce, ciphertext, tag.
 * @param kind what it is bound to: sealed as one kind of packet, it opens as no other
 */
export function sealPacket({ id, key }: SealKey, data: Buffer, kind: string): Buffer {
  const name = Buffer.from(id, 'latin1');
  const header = Buffer.concat([Buffer.of(FORMAT, name.length), name]);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(additionalData(header, kind));
  return Buffer.concat([header, nonce, cipher.update(data), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Opens what `sealPacket` made.
 * @param keys all of them open; which one is needed stands in front
 * @throws when it was not sealed at all, by a key that is not among them, or as another kind of packet
 */
export function openPacket(keys: ReadonlyMap<string, Buffer>, sealed: Buffer, kind: string): Buffer {
  const [format, length = 0] = sealed;
  const header = sealed.subarray(0, 2 + length);
  const body = sealed.subarray(header.length);
  if (format !== FORMAT || body.length < NONCE_BYTES + TAG_BYTES) throw new Error('It is not sealed');
  const key = keys.get(header.toString('latin1', 2));
  if (!key) throw new Error('It is sealed with a key that is not in TRANSPORT_KEY');
  const nonce = body.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    .setAAD(additionalData(header, kind))
    .setAuthTag(body.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(body.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
}

const additionalData = (header: Buffer, kind: string) => Buffer.concat([header, Buffer.from(kind)]);
