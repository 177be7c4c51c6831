import { openBytes, type SealKey, sealBytes } from '../auth/seal';

const FORMAT = 1;

/**
 * Seals a packet. The result is: a byte for the format, a byte for the length of the key's id, the id, and what
 * `sealBytes` gives.
 * @param kind what it is bound to: sealed as one kind of packet, it opens as no other
 */
export function sealPacket({ id, key }: SealKey, data: Buffer, kind: string): Buffer {
  const name = Buffer.from(id, 'latin1');
  const header = Buffer.concat([Buffer.of(FORMAT, name.length), name]);
  return Buffer.concat([header, ...sealBytes(key, data, additionalData(header, kind))]);
}

/**
 * Opens what `sealPacket` made.
 * @param keys all of them open; which one is needed stands in front
 * @throws when it was not sealed at all, by a key that is not among them, or as another kind of packet
 */
export function openPacket(keys: ReadonlyMap<string, Buffer>, sealed: Buffer, kind: string): Buffer {
  const [format, length = 0] = sealed;
  const header = sealed.subarray(0, 2 + length);
  if (format !== FORMAT) throw new Error('It is not sealed');
  const key = keys.get(header.toString('latin1', 2));
  if (!key) throw new Error('It is sealed with a key that is not in TRANSPORT_KEY');
  return openBytes(key, sealed.subarray(header.length), additionalData(header, kind));
}

const additionalData = (header: Buffer, kind: string) => Buffer.concat([header, Buffer.from(kind)]);
