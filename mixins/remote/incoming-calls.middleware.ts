import { Readable } from 'node:stream';
import type { ActionSchema, Context, Middleware, Service, ServiceBroker, Transit } from 'moleculer';

type Next = (ctx: Context) => Promise<unknown>;
type Handle = (kind: string, packet: { payload: { id?: string; seq?: number } }) => Promise<unknown>;

const middleware = {
  name: 'IncomingCalls',

  localAction(this: ServiceBroker, next: Next, action: ActionSchema): Next {
    const { nodeID } = this;
    const log = this.getLogger('incoming-calls');
    return function answerNode(this: Service, ctx: Context) {
      if (ctx.nodeID === nodeID) return next.call(this, ctx);
      const { stream } = ctx as { stream?: unknown };
      // Whoever reads it is told all the same; without a listener an early error would end the process.
      if (stream instanceof Readable) stream.on('error', () => undefined);
      return next.call(this, ctx).catch((error: Error) => {
        if (stream instanceof Readable) stream.destroy();
        if (error.cause) {
          const { requestID: requestId, nodeID: from } = ctx;
          log.warn({ err: error.cause, requestId, action: action.name, from }, 'A call from another node failed');
        }
        throw error;
      });
    };
  },

  transitMessageHandler(this: Transit, next: Handle): Handle {
    const { pendingReqStreams } = this as Transit & { pendingReqStreams: Map<string | undefined, unknown> };
    return async (kind, packet) => {
      const { id, seq = 0 } = packet.payload;
      return kind === 'REQ' && seq > 0 && !pendingReqStreams.has(id) ? false : next(kind, packet);
    };
  },
};

/**
 * Tidies up after calls from other nodes that failed. Belongs outside everything that may refuse.
 *
 * What an error was caused by does not travel: it is logged here. And what is still on its way of a stream that was refused
 * is dropped: Moleculer 0.15.2 would take it for another stream, and keep it until the sender goes.
 */
export const IncomingCalls = middleware as unknown as Middleware;
