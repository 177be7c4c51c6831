import { type BrokerOptions, type Runner, ServiceBroker } from 'moleculer';
import { ApiFirst } from './mixins/api-first.middleware';
import { Authentication } from './mixins/auth/authentication.middleware';
import { type Config, parseConfig, setConfig } from './mixins/config';
import { ContractValidator } from './mixins/contract';
import { embed } from './mixins/embedded/embed';
import { explain, loadEnvFile, onStopSignal } from './mixins/embedded/lifecycle';
import { startScreen } from './mixins/embedded/screen';
import { useKafkaTokens } from './mixins/events/carriers';
import type { TokenProvider } from './mixins/events/kafka.client';
import { hotReload } from './mixins/hot-reload.middleware';
import { Idempotency } from './mixins/idempotency/idempotency.middleware';
import { type LogOptions, PinoLogger } from './mixins/logger';
import { prometheus } from './mixins/metrics/metrics.middleware';
import { IncomingCalls } from './mixins/remote/incoming-calls.middleware';
import { LargeMessages } from './mixins/remote/large-messages.middleware';
import { tracing } from './mixins/tracing/tracing.middleware';
import { meshOptions } from './mixins/transport/mesh';
import { remoteCircuitBreaker, remoteRetry } from './mixins/transport/remote-calls';
import { makeRoomInRepl, replOptions } from './services/repl/repl';

export interface BrokerExtras {
  /** `false`: nothing is logged. */
  log?: LogOptions | false;
  /** Services follow their files. */
  hot?: boolean;
  /** Makes tokens for Kafka, where it asks for OAUTHBEARER. */
  kafkaTokens?: TokenProvider;
  /** Runs when all services have stopped. */
  stopped?: () => Promise<void>;
}

/** What a broker of this code base is made of, from a complete configuration. */
export function brokerOptions(config: Config, { log = {}, hot = false, kafkaTokens, stopped }: BrokerExtras = {}): BrokerOptions {
  const mesh = meshOptions(config, kafkaTokens);
  return {
    // Both become parts of the names of Kafka's topics, which a dot would split.
    namespace: 'hiver',
    nodeID: config.nodeId,
    logger: log && new PinoLogger(config.logLevel, log),
    validator: new ContractValidator(),
    requestTimeout: 15_000,
    ...mesh.options,
    // Moleculer would put its own inside ours, and validate before anybody knows who asks. Innermost first.
    internalMiddlewares: false,
    middlewares: [
      'ActionHook',
      'Validator',
      Idempotency,
      LargeMessages,
      Authentication,
      IncomingCalls,
      'Bulkhead',
      'Cacher',
      'ContextTracker',
      remoteCircuitBreaker,
      'Timeout',
      remoteRetry,
      'Fallback',
      'ErrorHandler',
      'Tracing',
      'Metrics',
      ...(config.tracing ? [tracing(config.tracing)] : []),
      ...(config.metricsPort === undefined ? [] : [prometheus(config.metricsPort)]),
      'Debounce',
      'Throttle',
      ApiFirst,
      ...mesh.middlewares,
      ...(hot ? [hotReload()] : []),
    ],
    metrics: false,
    tracing: false,
    // Signals are handled by whoever started the broker: what it stands on stops after it.
    skipProcessEventRegistration: true,
    replOptions,
    created: broker => {
      setConfig(broker, config);
      makeRoomInRepl(broker);
      if (kafkaTokens) useKafkaTokens(broker, kafkaTokens);
    },
    stopped,
  };
}

/**
 * For `moleculer-runner`, which `npm run dev` uses: embedded mode with pretty lines.
 * `npm start` and production begin in `scripts/start.ts`.
 */
export default async function configure(this: Runner): Promise<BrokerOptions> {
  // Without a terminal the REPL would read the end of its input, and end the process.
  if (this.flags) this.flags.repl &&= process.stdin.isTTY;
  onStopSignal(() => this.broker?.stop());
  loadEnvFile();
  try {
    const { config, stop } = await embed(parseConfig({ ...process.env, HIVER_SERVICES: undefined }), console);
    const started = (broker: ServiceBroker) => void process.stdout.write(startScreen(broker, config));
    const options = { ...brokerOptions(config, { log: { pretty: true }, hot: this.flags?.hot, stopped: stop }), started };
    shieldFromEnvironment(options);
    return options;
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    return process.exit(1);
  }
}

/** moleculer-runner overrides options by variables of the same names, and they are common ones: NAMESPACE, LOGGER … */
function shieldFromEnvironment(options: BrokerOptions): void {
  const names = new Set(Object.keys({ ...ServiceBroker.defaultOptions, ...options }).map(name => name.toUpperCase()));
  for (const name of Object.keys(process.env)) {
    if (names.has(name) || name.startsWith('MOL_') || ['SERVICES', 'SERVICEDIR'].includes(name)) delete process.env[name];
  }
}
