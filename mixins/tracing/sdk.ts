import { createRequire } from 'node:module';
import type { ReadableSpan, SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace';
import type { ServiceBroker } from 'moleculer';
import { version } from '../../package.json';
import type { TracingConfig } from './config';

type Api = typeof import('@opentelemetry/api');
type Core = typeof import('@opentelemetry/core');
type Trace = typeof import('@opentelemetry/sdk-trace');
type Resources = typeof import('@opentelemetry/resources');
type Exporters = typeof import('@opentelemetry/exporter-trace-otlp-proto');

export interface Sdk {
  api: Api;
  core: Core;
  trace: Trace;
  resources: Resources;
  exporters: Exporters;
}

/** OpenTelemetry, loaded when it is first needed: a process that traces nothing does not pay for it. */
export function loadSdk(): Sdk {
  const load = createRequire(__filename);
  return {
    api: load('@opentelemetry/api') as Api,
    core: load('@opentelemetry/core') as Core,
    trace: load('@opentelemetry/sdk-trace') as Trace,
    resources: load('@opentelemetry/resources') as Resources,
    exporters: load('@opentelemetry/exporter-trace-otlp-proto') as Exporters,
  };
}

/** What makes spans and sends them in batches, over OTLP. Which ones are made is decided before. */
export function openProvider({ trace, resources, exporters }: Sdk, config: TracingConfig, broker: ServiceBroker): TracerProvider {
  const { batch } = config;
  const exporter = new LoggingExporter(new exporters.OTLPTraceExporter({ url: config.url }), broker.getLogger('tracing'));
  const defaults = { 'service.name': config.serviceName, 'service.version': version, 'service.instance.id': broker.nodeID };
  const fromEnvironment = resources.detectResources({ detectors: [resources.envDetector] });
  return new trace.TracerProvider({
    resource: resources.resourceFromAttributes(defaults).merge(fromEnvironment),
    sampler: new trace.AlwaysOnSampler(),
    spanProcessors: [
      new trace.BatchSpanProcessor({
        exporter,
        scheduledDelayMillis: batch.delay,
        exportTimeoutMillis: batch.exportTimeout,
        maxQueueSize: batch.queueSize,
        maxExportBatchSize: batch.size,
      }),
    ],
  });
}

type Done = Parameters<SpanExporter['export']>[1];

/** Says when spans cease to leave, and when they leave again. OpenTelemetry itself would say nothing. */
class LoggingExporter implements SpanExporter {
  #isFailing = false;

  constructor(
    private readonly inner: SpanExporter,
    private readonly log: Pick<ServiceBroker['logger'], 'info' | 'warn'>,
  ) {}

  export(spans: ReadableSpan[], done: Done): void {
    this.inner.export(spans, result => {
      const isFailing = result.code !== 0;
      if (isFailing && !this.#isFailing) this.log.warn(`Traces do not leave, and are lost: ${result.error?.message}`);
      if (!isFailing && this.#isFailing) this.log.info('Traces leave again');
      this.#isFailing = isFailing;
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.inner.shutdown();
  }
}
