import { createRequire } from 'node:module';
import type { ServiceBroker } from 'moleculer';
import type { Histogram, Registry } from 'prom-client';
import { version } from '../../package.json';
import { DomainMetrics } from './domain.metrics';

type Library = typeof import('prom-client');

/** Seconds. Most reads take less than a millisecond; the API gives up after 15 s. */
const DURATIONS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15];

/** Milliseconds between looks at the event loop: each is a wake-up. At 10 they are 0.3 % of a core, at 20 half of that. */
const LOOP_LOOKS = 20;

/** What is counted of a request. All three are of a small set: each combination is a series of its own. */
export interface RequestLabels {
  method: string;
  /** Its pattern, `/users/:id`; `none` where there is no such route. */
  route: string;
  /** `aborted` where the client left before there was one. */
  status: number | 'aborted';
}

/** Everything that one broker measures. `docs/observability.md` lists it. */
export class Metrics {
  readonly #registry: Registry;
  readonly #requests: Histogram<keyof RequestLabels>;
  readonly #domains: DomainMetrics;
  #rendering: Promise<string> | undefined;

  constructor(broker: ServiceBroker) {
    // Loaded when it is first needed: a process that measures nothing does not pay for it.
    const { Registry, Histogram, Gauge, Counter, collectDefaultMetrics } = createRequire(__filename)('prom-client') as Library;
    // Never the global one: several brokers may live in one process.
    this.#registry = new Registry();
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LOOP_LOOKS });
    this.#requests = new Histogram({
      name: 'hiver_http_request_duration_seconds',
      help: 'Time from the first look at a request to the end of its answer',
      labelNames: ['method', 'route', 'status'],
      buckets: DURATIONS,
      registers,
    });
    new Gauge({ name: 'hiver_build_info', help: 'Always 1', labelNames: ['version', 'node'], registers }).set(
      { version, node: broker.nodeID },
      1,
    );
    this.#domains = new DomainMetrics(broker, { Gauge, Counter }, registers);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  observeRequest(labels: RequestLabels, seconds: number): void {
    this.#requests.observe(labels, seconds);
  }

  /** All of it in Prometheus' text format. Two that ask at once get the same answer. */
  render(): Promise<string> {
    this.#rendering ??= this.#render().finally(() => {
      this.#rendering = undefined;
    });
    return this.#rendering;
  }

  async #render(): Promise<string> {
    await this.#domains.gather();
    return this.#registry.metrics();
  }
}

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const METRICS = Symbol.for('hiver.metrics');
type Holder = ServiceBroker & { [METRICS]?: Metrics };

/** What the broker measures; `undefined` where nothing is to be measured. */
export function metricsOf(broker: ServiceBroker): Metrics | undefined {
  return (broker as Holder)[METRICS];
}

export function setMetrics(broker: ServiceBroker, metrics: Metrics): void {
  (broker as Holder)[METRICS] = metrics;
}
