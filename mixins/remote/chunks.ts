import { Readable } from 'node:stream';
import { commonProblems } from '../errors';

/** Bytes of one chunk: in base64 256 kB, far below the 1 MB that Kafka takes, whatever else stands in its packet. */
const CHUNK = 192 * 1024;

/**
 * Bytes as a stream that Moleculer carries: first how many there are, then the bytes in pieces. In base64, since Moleculer
 * writes each byte of a Buffer as a number of a JSON array, which is nearly four times as long.
 */
export function toChunks(bytes: Buffer): Readable {
  return Readable.from(chunksOf(bytes));
}

function* chunksOf(bytes: Buffer): Generator<{ bytes: number } | string> {
  yield { bytes: bytes.length };
  for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.toString('base64', at, at + CHUNK);
}

/**
 * Puts together what `toChunks` took apart; all of it, or nothing.
 * @param limit most bytes
 * @param timeout milliseconds until the last chunk must have come; 0 waits for ever
 * @throws BODY_TOO_LARGE, and UNAVAILABLE when the sender is gone, or something is missing
 */
export async function fromChunks(stream: Readable, limit = Number.POSITIVE_INFINITY, timeout = 0): Promise<Buffer> {
  const timer = timeout > 0 ? setTimeout(() => stream.destroy(new Error('It took too long to arrive')), timeout) : undefined;
  try {
    return await assemble(stream, limit);
  } finally {
    clearTimeout(timer);
  }
}

async function assemble(stream: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let expected: number | undefined;
  let size = 0;
  for await (const chunk of readable(stream)) {
    if (expected === undefined) {
      expected = lengthIn(chunk);
      if (expected > limit) throw commonProblems.BODY_TOO_LARGE();
      continue;
    }
    const bytes = Buffer.from(String(chunk), 'base64');
    size += bytes.length;
    if (size > expected) throw unavailable(new Error('More arrived than was announced'));
    chunks.push(bytes);
  }
  // A stream that was cut may look as if it had ended.
  if (size !== expected) throw unavailable(new Error(`Only ${size} of ${expected} bytes arrived`));
  return Buffer.concat(chunks);
}

async function* readable(stream: Readable): AsyncGenerator<unknown> {
  try {
    yield* stream;
  } catch (error) {
    throw unavailable(error);
  }
}

function lengthIn(chunk: unknown): number {
  const { bytes } = (chunk ?? {}) as { bytes?: unknown };
  if (typeof bytes !== 'number') throw unavailable(new Error('The stream does not begin with its length'));
  return bytes;
}

function unavailable(cause: unknown): Error {
  return Object.assign(commonProblems.UNAVAILABLE({ retryAfter: 1 }), { cause });
}
