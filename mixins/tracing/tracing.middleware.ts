import type { ActionSchema, Context, Middleware, Service, ServiceBroker } from 'moleculer';
import type { TracingConfig } from './config';
import { endSpan, type Step, setTracing, type Trace, Tracing } from './tracing';

type Headers = { traceparent?: string };
type Next = (ctx: Context) => Promise<unknown>;

/**
 * A span for each action and for each call to another node. Where the trace has got to stands in the context's header
 * `traceparent`, which travels with calls and into the envelopes of events.
 */
export function tracing(config: TracingConfig): Middleware {
  let tracing: Tracing | undefined;

  function traced(next: Next, stepOf: (ctx: Context) => Step) {
    return async function trace(this: Service, ctx: Context): Promise<unknown> {
      if (!tracing) return next.call(this, ctx);
      const step = tracing.goOn(stepOf(ctx), traceparentOf(ctx));
      ctx.headers = { ...ctx.headers, traceparent: step.traceparent };
      return step.span ? settle(step, next.call(this, ctx)) : next.call(this, ctx);
    };
  }

  return {
    name: 'OpenTelemetry',

    created(broker) {
      tracing = new Tracing(config, broker);
      setTracing(broker, tracing);
    },

    localAction(this: ServiceBroker, next: Next, action: ActionSchema) {
      if (isUntraced(action)) return next;
      const { nodeID } = this;
      return traced(next, ctx => stepOf(action, ctx.nodeID === nodeID ? 'INTERNAL' : 'SERVER'));
    },

    remoteAction(next: Next, action: ActionSchema) {
      return isUntraced(action) ? next : traced(next, ctx => stepOf(action, 'CLIENT', ctx.nodeID));
    },

    async stopped() {
      await tracing?.stop();
    },
  } as Middleware;
}

/** What the context itself brings along, from another node, comes before where its caller is. */
function traceparentOf({ headers, options }: Context): string | undefined {
  const parent = options.parentCtx as Context | undefined;
  return (headers as Headers).traceparent ?? (parent?.headers as Headers | undefined)?.traceparent;
}

/** Moleculer's own actions, which nodes call all the time, and those of the API: requests have spans of their own. */
function isUntraced({ name = '' }: ActionSchema): boolean {
  return name.startsWith('$') || name.startsWith('api.');
}

function stepOf({ name = '' }: ActionSchema, kind: Step['kind'], node?: string | null): Step {
  const attributes = { 'rpc.system': 'moleculer', 'rpc.method': name, ...(node && { 'server.address': node }) };
  return { name, kind, attributes };
}

async function settle({ span }: Trace, work: Promise<unknown>): Promise<unknown> {
  try {
    const result = await work;
    endSpan(span);
    return result;
  } catch (error) {
    const { code, type, name } = error as { code?: unknown; type?: unknown; name?: unknown };
    const isRefusal = typeof code === 'number' && code >= 400 && code < 500;
    endSpan(span, { isBug: !isRefusal, type: String(type ?? name ?? 'Error') });
    throw error;
  }
}
