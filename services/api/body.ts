import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { HttpFacts } from '../../mixins/contract';
import { commonProblems } from '../../mixins/errors';

const DEFAULT_LIMIT = 1_000_000;
/** How long what is left of a refused body is read and dropped, so that the client gets to see its answer. */
const LINGER = 2_000;

const INFLATERS: Record<string, () => Transform> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

/** Whether a body follows the headers (RFC 9112, section 6.3). */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * Reads a body that is of the type and size that the action takes; the size counts before and after inflating.
 * @throws UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_MALFORMED
 */
export async function readBody(req: IncomingMessage, res: ServerResponse, http: HttpFacts): Promise<Buffer> {
  if (!isTypeOf(req, http.body ?? 'application/json')) throw commonProblems.UNSUPPORTED_MEDIA_TYPE();
  const encoding = (req.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  const inflater = Object.hasOwn(INFLATERS, encoding) ? INFLATERS[encoding] : undefined;
  if (!inflater && encoding !== 'identity') throw commonProblems.UNSUPPORTED_MEDIA_TYPE();
  const limit = http.bodyLimit ?? DEFAULT_LIMIT;
  if (Number(req.headers['content-length'] ?? 0) > limit) throw commonProblems.BODY_TOO_LARGE();
  if (req.headers.expect) res.writeContinue();
  return inflater ? inflate(req, inflater(), limit) : readAll(req, limit);
}

/** The type that the action takes, in UTF-8 if it names an encoding at all. */
function isTypeOf(req: IncomingMessage, expected: string): boolean {
  const [type = '', ...parameters] = (req.headers['content-type'] ?? '').toLowerCase().split(';');
  if (type.trim() !== expected) return false;
  const charset = parameters.map(parameter => parameter.trim()).find(parameter => parameter.startsWith('charset='));
  return charset === undefined || /^charset="?utf-?8"?$/.test(charset);
}

/**
 * Reads a body as it comes, of at most so many bytes.
 * @throws BODY_TOO_LARGE, BODY_MALFORMED
 */
export function readAll(req: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) reject(commonProblems.BODY_TOO_LARGE());
      else chunks.push(chunk);
    });
    req.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    onBroken(req, reject);
  });
}

function inflate(req: IncomingMessage, inflater: Transform, limit: number): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let arrived = 0;
    let size = 0;
    // Both sides are counted: empty members can follow each other in a stream that inflates to nothing.
    req.on('data', (chunk: Buffer) => {
      arrived += chunk.length;
      if (arrived > limit) reject(commonProblems.BODY_TOO_LARGE());
    });
    inflater.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) reject(commonProblems.BODY_TOO_LARGE());
      else chunks.push(chunk);
    });
    inflater.on('end', () => resolve(Buffer.concat(chunks)));
    inflater.on('error', () => reject(commonProblems.BODY_MALFORMED()));
    onBroken(req, reject);
    req.pipe(inflater);
  }).finally(() => {
    req.unpipe(inflater);
    inflater.destroy();
    req.resume();
  });
}

function onBroken(req: IncomingMessage, reject: (error: Error) => void): void {
  const broken = () => reject(commonProblems.BODY_MALFORMED());
  req.on('error', broken);
  req.on('close', () => {
    if (!req.complete) broken();
  });
}

/**
 * Reads what is left of a body that was refused, for a while: closing at once would reset the connection, and the
 * answer would be lost with it (RFC 9112, section 9.6).
 */
export function drain(req: IncomingMessage): void {
  if (req.complete) return;
  req.resume();
  const timer = setTimeout(() => req.destroy(), LINGER);
  timer.unref();
  req.once('close', () => clearTimeout(timer));
  req.once('end', () => clearTimeout(timer));
}

/**
 * Reads a JSON object (RFC 8259); no bytes are an empty object.
 * @throws BODY_MALFORMED
 */
export function parseObject(bytes: Buffer): Record<string, unknown> {
  if (bytes.length === 0) return {};
  if (!isUtf8(bytes)) throw commonProblems.BODY_MALFORMED({ detail: 'The body is not UTF-8.' });
  const value = parseJson(bytes.toString());
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw commonProblems.BODY_MALFORMED({ detail: 'The body must be a JSON object.' });
  }
  return value as Record<string, unknown>;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw commonProblems.BODY_MALFORMED({ detail: 'The body is not JSON.' });
  }
}
