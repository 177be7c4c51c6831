import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig } from '../../mixins/config';
import { chancesOf } from '../../mixins/tracing/sampling';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://jaeger:4318' };

describe('the configuration of traces', () => {
  it('is off without an endpoint, and where the SDK is disabled', () => {
    expect(parseConfig({}).tracing).toBeUndefined();
    expect(parseConfig({ OTEL_TRACES_SAMPLER: 'always_on' }).tracing).toBeUndefined();
    expect(parseConfig({ ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' }).tracing).toBeUndefined();
  });

  it('is as the specification has it unless told, but for the sampler', () => {
    expect(parseConfig(ENDPOINT).tracing).toEqual({
      url: 'http://jaeger:4318/v1/traces',
      serviceName: 'hiver',
      sampler: 'parentbased_traceidratio',
      ratio: 1,
      batch: { delay: 5_000, exportTimeout: 30_000, queueSize: 2_048, size: 512 },
    });
  });

  it('adds the path to the common endpoint, and takes that of the traces as it is', () => {
    const urlOf = (environment: NodeJS.ProcessEnv) => parseConfig(environment).tracing?.url;
    expect(urlOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://otel.example.com/base/' })).toBe(
      'https://otel.example.com/base/v1/traces',
    );
    expect(urlOf({ ...ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://tempo:4318/x' })).toBe('http://tempo:4318/x');
  });

  it('names a node after its domains', () => {
    const node = (services: string) => {
      const url = 'postgres://db/hiver';
      const seal = `a:${'A'.repeat(43)}`;
      return parseConfig({
        ...ENDPOINT,
        HIVER_SERVICES: services,
        DATABASE_URL_PRESENCE: url,
        KAFKA_BROKERS: 'kafka:9092',
        TRANSPORT_KEY: seal,
        JWKS_URL: 'http://users:3000/.well-known/jwks.json',
      }).tracing?.serviceName;
    };
    expect(node('presence,api')).toBe('hiver-presence');
    expect(node('api')).toBe('hiver-api');
  });

  it.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'jaeger:4318'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'grpc://jaeger'],
    ['OTEL_SDK_DISABLED', 'yes'],
    ['OTEL_TRACES_SAMPLER', 'jaeger_remote'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5'],
    ['OTEL_TRACES_SAMPLER_ARG', 'half'],
    ['OTEL_BSP_SCHEDULE_DELAY', '0'],
    ['OTEL_BSP_MAX_QUEUE_SIZE', '1.5'],
  ])('refuses %s=%s by its name', (name, value) => {
    const parse = () => parseConfig({ [name]: value });
    expect(parse).toThrow(ConfigError);
    expect(parse).toThrow(new RegExp(`- ${name} must be`));
  });
});

describe('chancesOf', () => {
  it.each([
    ['always_on', 1, 1, 1],
    ['always_off', 0, 0, 0],
    ['traceidratio', 0.2, 0.2, 0.2],
    ['parentbased_always_on', 1, 1, 0],
    ['parentbased_always_off', 0, 1, 0],
    ['parentbased_traceidratio', 0.2, 0.2, 0],
  ] as const)('%s: own %d, of sampled callers %d, of others %d', (sampler, own, sampled, unsampled) => {
    expect(chancesOf({ sampler, ratio: 0.2 })).toEqual({ own, sampled, unsampled });
  });
});
