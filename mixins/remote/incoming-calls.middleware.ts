import { Readable } from 'node:stream';
import type { Context, Middleware, Service } from 'moleculer';

/**
 * Tidies up after calls from other nodes that failed. Belongs outside everything that may refuse.
 *
 * What an error was caused by does not travel: it is logged here. A stream that nobody read to its end is let run out, and
 * its errors are nobody's concern any more; without a listener they would end the process.
 */
export const IncomingCalls: Middleware = {
  name: 'IncomingCalls',

  localAction(next, action) {
    const { nodeID } = this;
    const log = this.getLogger('incoming-calls');
    return function answerNode(this: Service, ctx: Context) {
      if (ctx.nodeID === nodeID) return next.call(this, ctx);
      const { stream } = ctx as { stream?: unknown };
      if (stream instanceof Readable) stream.on('error', () => undefined);
      return next.call(this, ctx).catch((error: Error) => {
        if (stream instanceof Readable) stream.resume();
        if (error.cause) {
          const { requestID: requestId, nodeID: from } = ctx;
          log.warn({ err: error.cause, requestId, action: action.name, from }, 'A call from another node failed');
        }
        throw error;
      });
    };
  },
};
