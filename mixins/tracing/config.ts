import * as z from 'zod';

const ENDPOINT = 'must be an http(s) URL';
const endpoint = z.url({ protocol: /^https?$/, error: ENDPOINT }).optional();

const COUNT = 'must be a whole number above 0';
const count = (usual: number) => z.coerce.number(COUNT).int(COUNT).min(1, COUNT).default(usual);

const RATIO = 'must be a number from 0 to 1';

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/**
 * Variables of OpenTelemetry that we read ourselves, named as its specification names them; the exporter and the resource
 * read others (docs/observability.md).
 */
export const tracingVariables = {
  OTEL_SDK_DISABLED: z
    .string()
    .toLowerCase()
    .pipe(z.enum(['true', 'false'], 'must be true or false'))
    .default('false'),
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
  OTEL_TRACES_SAMPLER: z.enum(SAMPLERS, `must be one of ${SAMPLERS.join(', ')}`).default('parentbased_traceidratio'),
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number(RATIO).min(0, RATIO).max(1, RATIO).default(1),
  OTEL_BSP_SCHEDULE_DELAY: count(5_000),
  OTEL_BSP_EXPORT_TIMEOUT: count(30_000),
  OTEL_BSP_MAX_QUEUE_SIZE: count(2_048),
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: count(512),
};

const Variables = z.object(tracingVariables);

/** Where traces go, and which ones. */
export interface TracingConfig {
  url: string;
  /** Name of the service unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has another one. */
  serviceName: string;
  sampler: (typeof SAMPLERS)[number];
  /** Share of the traces, where the sampler goes by it. */
  ratio: number;
  /** Of spans on their way out; times in milliseconds. */
  batch: { delay: number; exportTimeout: number; queueSize: number; size: number };
}

/** `undefined` when no endpoint is set: nothing is traced then. */
export function tracingConfig(env: z.infer<typeof Variables>, serviceName: string): TracingConfig | undefined {
  const base = env.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (base && `${base.replace(/\/$/, '')}/v1/traces`);
  if (!url || env.OTEL_SDK_DISABLED === 'true') return undefined;
  return {
    url,
    serviceName,
    sampler: env.OTEL_TRACES_SAMPLER,
    ratio: env.OTEL_TRACES_SAMPLER_ARG,
    batch: {
      delay: env.OTEL_BSP_SCHEDULE_DELAY,
      exportTimeout: env.OTEL_BSP_EXPORT_TIMEOUT,
      queueSize: env.OTEL_BSP_MAX_QUEUE_SIZE,
      size: env.OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    },
  };
}
