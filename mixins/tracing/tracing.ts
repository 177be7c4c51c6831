import { randomBytes } from 'node:crypto';
import type { Attributes, Span, SpanContext, SpanKind, Tracer } from '@opentelemetry/api';
import type { TracerProvider } from '@opentelemetry/sdk-trace';
import type { ServiceBroker } from 'moleculer';
import { within } from '../within';
import type { TracingConfig } from './config';
import { chancesOf } from './sampling';
import { loadSdk, openProvider, type Sdk } from './sdk';

const SAMPLED = 1;
/** Milliseconds that a stop waits for the last spans to leave. */
const FLUSH_WITHIN = 1_000;

/** Where a trace has got to. Without a span it is not recorded, here and further on. */
export interface Trace {
  traceparent: string;
  traceId: string;
  span: Span | undefined;
}

/** What a span is about. */
export interface Step {
  name: string;
  kind: keyof typeof SpanKind;
  attributes?: Attributes;
}

/** One broker's part in traces, on OpenTelemetry's SDK. Where a trace has got to is handed on as W3C's `traceparent`. */
export class Tracing {
  readonly #sdk: Sdk;
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #chances: ReturnType<typeof chancesOf>;

  constructor(config: TracingConfig, broker: ServiceBroker) {
    this.#sdk = loadSdk();
    this.#provider = openProvider(this.#sdk, config, broker);
    this.#tracer = this.#provider.getTracer('hiver');
    this.#chances = chancesOf(config);
  }

  /**
   * Begins our part of a trace: that of a caller from outside, or a new one. Here it is decided whether it is recorded.
   * @param traceparent as the caller sent it; what is malformed counts as none
   */
  begin(step: Step, traceparent?: unknown): Trace {
    const caller = this.#parse(traceparent);
    const { own, sampled, unsampled } = this.#chances;
    const chance = !caller ? own : isSampled(caller) ? sampled : unsampled;
    if (Math.random() < chance) return this.#record(step, caller);
    const traceId = caller?.traceId ?? randomBytes(16).toString('hex');
    return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-00`, span: undefined };
  }

  /**
   * Goes on with a trace that one of our nodes began; a new one where there is none.
   * @param traceparent where it has got to
   */
  goOn(step: Step, traceparent: string | undefined): Trace {
    const parent = this.#parse(traceparent);
    if (!parent || traceparent === undefined) return this.begin(step);
    if (!isSampled(parent)) return { traceparent, traceId: parent.traceId, span: undefined };
    return this.#record(step, parent);
  }

  /** As `goOn`, for what is not worth a trace of its own. */
  goOnIfSampled(step: Step, traceparent: string | undefined): (Trace & { span: Span }) | undefined {
    const parent = this.#parse(traceparent);
    return parent && isSampled(parent) ? this.#record(step, parent) : undefined;
  }

  /** Sends what has ended, for a second at most: a collector that is gone holds nothing up. */
  async stop(): Promise<void> {
    const flushed = this.#provider.shutdown().catch(() => undefined);
    await within(FLUSH_WITHIN, flushed, () => undefined);
  }

  #record({ name, kind, attributes }: Step, parent: SpanContext | undefined): Trace & { span: Span } {
    const { trace, ROOT_CONTEXT, SpanKind } = this.#sdk.api;
    const context = parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
    const span = this.#tracer.startSpan(name, { kind: SpanKind[kind], attributes }, context);
    const { traceId, spanId } = span.spanContext();
    return { traceId, traceparent: `00-${traceId}-${spanId}-01`, span };
  }

  #parse(traceparent: unknown): SpanContext | undefined {
    if (typeof traceparent !== 'string') return undefined;
    return this.#sdk.core.parseTraceParent(traceparent) ?? undefined;
  }
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & SAMPLED) !== 0;
}

/** Ends a span. Of what went wrong it tells the code and no message, which may speak of people. */
export function endSpan(span: Span | undefined, failure?: { isBug: boolean; type: string }): void {
  if (!span) return;
  if (failure) span.setAttribute('error.type', failure.type);
  if (failure?.isBug) span.setStatus({ code: 2 });
  span.end();
}

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const TRACING = Symbol.for('hiver.tracing');
type Holder = ServiceBroker & { [TRACING]?: Tracing };

/** The broker's part in traces; `undefined` where nothing is traced. */
export function tracingOf(broker: ServiceBroker): Tracing | undefined {
  return (broker as Holder)[TRACING];
}

export function setTracing(broker: ServiceBroker, tracing: Tracing): void {
  (broker as Holder)[TRACING] = tracing;
}
