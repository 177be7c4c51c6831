import { Readable } from 'node:stream';
import type { ActionSchema, Context, Middleware, Service } from 'moleculer';
import type { HttpFacts, Meta } from '../contract';
import { fromChunks, toChunks } from './chunks';

/** Bytes that travel in one packet. Kafka takes messages of 1 MB. */
const LARGEST_PACKET = 256_000;
const JSON_LIMIT = 1_000_000;
/** So many times as long as it came can JSON get when it is written anew: `1e20` becomes 21 digits. Path and query come on top. */
const REWRITTEN = 5;
const BESIDE_BODY = 64_000;

type Call = Context<Record<string, unknown> | undefined, Meta & { $isInChunks?: boolean }>;

/**
 * Lets calls between nodes carry what is too large for a packet, and bytes: both travel as Moleculer streams, of which
 * neither callers nor handlers see anything. Belongs inside authentication, so that nobody's bytes are put together who may
 * not call, and outside everything that looks at parameters.
 */
export const LargeMessages: Middleware = {
  name: 'LargeMessages',

  remoteAction(next, action) {
    const { http } = action as ActionSchema & { http?: HttpFacts };
    return async function sendLarge(this: Service, ctx: Context) {
      const call = ctx as Call;
      const { params } = call;
      const large = largePart(params ?? {}, http);
      if (large) {
        call.params = large.rest;
        call.options = { ...call.options, stream: toChunks(large.bytes) };
      }
      try {
        return await receiveAnswer(call, await next.call(this, ctx));
      } finally {
        // For another try.
        call.params = params;
      }
    };
  },

  localAction(next, action) {
    const { http } = action as ActionSchema & { http?: HttpFacts };
    const { nodeID } = this;
    return function receiveLarge(this: Service, ctx: Context) {
      if (ctx.nodeID === nodeID) return next.call(this, ctx);
      const call = ctx as Call;
      return receiveParams(call, http)
        .then(() => next.call(this, ctx))
        .then(answer => sendAnswer(call, answer));
    };
  },
};

/** What of the parameters must travel as a stream, and what beside it. */
function largePart(
  params: Record<string, unknown>,
  http: HttpFacts | undefined,
): { bytes: Buffer; rest: Record<string, unknown> } | undefined {
  if (http?.body === 'text/csv') {
    const { csv, ...rest } = params;
    return csv instanceof Buffer ? { bytes: csv, rest } : undefined;
  }
  const bytes = Buffer.from(JSON.stringify(params));
  return bytes.length > LARGEST_PACKET ? { bytes, rest: {} } : undefined;
}

async function receiveParams(ctx: Call, http: HttpFacts | undefined): Promise<void> {
  const { stream } = ctx as { stream?: unknown };
  if (!(stream instanceof Readable)) return;
  const timeout = ctx.options.timeout ?? 0;
  if (http?.body === 'text/csv') {
    ctx.params = { ...ctx.params, csv: await fromChunks(stream, http.bodyLimit ?? JSON_LIMIT, timeout) };
    return;
  }
  const limit = (http?.bodyLimit ?? JSON_LIMIT) * REWRITTEN + BESIDE_BODY;
  ctx.params = JSON.parse(String(await fromChunks(stream, limit, timeout)));
}

function sendAnswer(ctx: Call, answer: unknown): unknown {
  if (answer instanceof Readable) return answer;
  const json = JSON.stringify(answer);
  if (json === undefined || Buffer.byteLength(json) <= LARGEST_PACKET) return answer;
  ctx.meta.$isInChunks = true;
  return toChunks(Buffer.from(json));
}

async function receiveAnswer({ meta }: Call, answer: unknown): Promise<unknown> {
  const { $isInChunks: isInChunks } = meta;
  delete meta.$isInChunks;
  if (!isInChunks || !(answer instanceof Readable)) return answer;
  return JSON.parse(String(await fromChunks(answer)));
}
