import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { ServiceBroker } from 'moleculer';
import * as z from 'zod';
import { type TracingConfig, tracingConfig, tracingVariables } from './tracing/config';

/** A domain has a folder, a database and a consumer group of this name. */
export const DOMAINS = ['users', 'presence', 'tasks', 'leave-requests', 'notifications'] as const;
export type Domain = (typeof DOMAINS)[number];
export type NodeRole = Domain | 'api';

const list = z.string().transform(text =>
  text
    .split(',')
    .map(item => item.trim())
    .filter(Boolean),
);

const listOf = <T extends z.ZodType<unknown, string>>(item: T) => list.pipe(z.array(item as z.ZodType<z.output<T>, string>));

const postgresUrl = z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' }).optional();

/** `keyId:base64url`, 32 bytes; the first one seals, all of them open. */
const sealKey = z
  .string()
  .regex(/^[\w-]{1,32}:[A-Za-z0-9_-]{43}$/, 'must be a list of keyId:key, the key 32 bytes in base64url')
  .transform(text => {
    const [id = '', key = ''] = text.split(':');
    return { id, key: Buffer.from(key, 'base64url') };
  });

const kafkaBroker = z.string().regex(/^[\w.-]+:\d{1,5}$/, 'must be a list of host:port');

const SASL_MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'] as const;

const DAYS = 'must be a whole number of days';
const days = (usual: number) => z.coerce.number(DAYS).int(DAYS).min(1, DAYS).default(usual);

const PORT_RANGE = 'must be a port, 0 to 65535';
const port = z.coerce.number(PORT_RANGE).int(PORT_RANGE).min(0, PORT_RANGE).max(65_535, PORT_RANGE);

/** Every environment variable that the code base reads. `.env.example` says what each is for; a test compares the two. */
export const Environment = z.object({
  NODE_ENV: z.enum(['development', 'production', 'test']).default('development'),
  HIVER_SERVICES: listOf(z.enum([...DOMAINS, 'api'])).optional(),
  NODE_ID: z
    .string()
    .regex(/^[\w-]{1,64}$/, 'must be letters, digits, _ and -, at most 64')
    .optional(),
  HOST: z.string().min(1).optional(),
  PORT: port.default(3000),
  METRICS_PORT: port.optional(),
  DATA_DIR: z.string().min(1).default('.data'),
  DATABASE_URL_USERS: postgresUrl,
  DATABASE_URL_PRESENCE: postgresUrl,
  DATABASE_URL_TASKS: postgresUrl,
  DATABASE_URL_LEAVE_REQUESTS: postgresUrl,
  DATABASE_URL_NOTIFICATIONS: postgresUrl,
  KAFKA_BROKERS: listOf(kafkaBroker).optional(),
  KAFKA_SSL: z.enum(['true', 'false'], 'must be true or false').default('false'),
  KAFKA_SASL_MECHANISM: z.enum(SASL_MECHANISMS).optional(),
  KAFKA_SASL_USERNAME: z.string().min(1).optional(),
  KAFKA_SASL_PASSWORD: z.string().min(1).optional(),
  APP_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  MAIL_FROM: z.string().min(3).default('Hiver <no-reply@hiver.invalid>'),
  SMTP_URL: z.url({ protocol: /^smtps?$/, error: 'must be an smtp(s):// URL' }).optional(),
  CORS_ORIGINS: listOf(z.url({ protocol: /^https?$/, error: 'must be a list of origins' })).default([]),
  TRUSTED_PROXIES: listOf(
    z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], 'must be a list of addresses or CIDR ranges'),
  ).default([]),
  JWT_PRIVATE_KEYS: z.string().min(1).optional(),
  JWKS_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  JWT_ISSUER: z.string().min(1).default('hiver'),
  JWT_AUDIENCE: z.string().min(1).default('hiver'),
  SEAL_KEYS: listOf(sealKey).optional(),
  TRANSPORT_KEY: listOf(sealKey).optional(),
  RETENTION_INBOX_DAYS: days(30),
  RETENTION_OUTBOX_DAYS: days(7),
  RETENTION_DEAD_LETTER_DAYS: days(90),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
  ...tracingVariables,
});

/** How Kafka is reached. */
export interface KafkaConfig {
  /** `host:port` of some of its brokers. */
  brokers: readonly string[];
  ssl: boolean;
  /** OAUTHBEARER takes neither of the two, but a provider of tokens. */
  sasl: { mechanism: (typeof SASL_MECHANISMS)[number]; username: string; password: string } | undefined;
}

/** The parsed configuration of one process. */
export interface Config {
  /** `embedded`: everything in this process, PostgreSQL and secrets included. `mesh`: one of several nodes. */
  mode: 'embedded' | 'mesh';
  /** Name of this process among others, the same after a restart: topics of Moleculer's transporter are named after it. */
  nodeId: string;
  services: readonly NodeRole[];
  host: string;
  /** 0 takes a free port. */
  port: number;
  /** Where Prometheus looks, 0 for a free port; without it nothing is measured. */
  metricsPort: number | undefined;
  dataDir: string;
  databaseUrls: Partial<Record<Domain, string>>;
  /** Carries events between processes; without it they are carried within this one. */
  kafka: KafkaConfig | undefined;
  appUrl: string;
  mailFrom: string;
  /** Without it mails are written to `dataDir/mail`. */
  smtpUrl: string | undefined;
  corsOrigins: readonly string[];
  trustedProxies: readonly string[];
  jwt: {
    issuer: string;
    audience: string;
    /** PEM blocks of EC P-256 private keys, the signing one first. Embedded, key files in the data folder instead. */
    privateKeys: string | undefined;
    /** Where a process without private keys finds the public ones. */
    jwksUrl: string | undefined;
  };
  sealKeys: readonly { id: string; key: Buffer }[];
  /** Seal what nodes tell each other. */
  transportKeys: readonly { id: string; key: Buffer }[];
  /** How long the event log keeps what it no longer needs, in days. */
  retention: { inboxDays: number; outboxDays: number; deadLetterDays: number };
  logLevel: z.infer<typeof Environment>['LOG_LEVEL'];
  /** Where traces go; without it nothing is traced. */
  tracing: TracingConfig | undefined;
}

/** Everything that is wrong with the environment, each with the name of its variable. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`The configuration has ${problems.length} problem(s):\n${problems.map(problem => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

const EMBEDDED_SERVICES: readonly NodeRole[] = [...DOMAINS, 'api'];

/**
 * Reads the environment once, at start. An empty variable counts as unset.
 * @throws {ConfigError} naming every variable that is missing or malformed
 */
export function parseConfig(environment: NodeJS.ProcessEnv): Config {
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''));
  const result = Environment.safeParse(set);
  if (!result.success) {
    throw new ConfigError(result.error.issues.map(issue => `${String(issue.path[0])} ${issue.message}`));
  }
  const env = result.data;
  const mode = env.HIVER_SERVICES ? 'mesh' : 'embedded';
  const config: Config = {
    mode,
    nodeId: env.NODE_ID ?? nodeName(env.HIVER_SERVICES),
    services: env.HIVER_SERVICES ?? EMBEDDED_SERVICES,
    host: env.HOST ?? (mode === 'embedded' ? '127.0.0.1' : '0.0.0.0'),
    port: env.PORT,
    metricsPort: env.METRICS_PORT ?? (mode === 'mesh' ? env.PORT && env.PORT + 6_000 : undefined),
    dataDir: resolve(env.DATA_DIR),
    databaseUrls: {
      users: env.DATABASE_URL_USERS,
      presence: env.DATABASE_URL_PRESENCE,
      tasks: env.DATABASE_URL_TASKS,
      'leave-requests': env.DATABASE_URL_LEAVE_REQUESTS,
      notifications: env.DATABASE_URL_NOTIFICATIONS,
    },
    kafka: kafkaConfig(env),
    appUrl: (env.APP_URL ?? `http://localhost:${env.PORT}`).replace(/\/$/, ''),
    mailFrom: env.MAIL_FROM,
    smtpUrl: env.SMTP_URL,
    corsOrigins: env.CORS_ORIGINS,
    trustedProxies: env.TRUSTED_PROXIES,
    jwt: { issuer: env.JWT_ISSUER, audience: env.JWT_AUDIENCE, privateKeys: env.JWT_PRIVATE_KEYS, jwksUrl: env.JWKS_URL },
    sealKeys: env.SEAL_KEYS ?? [],
    transportKeys: env.TRANSPORT_KEY ?? [],
    retention: {
      inboxDays: env.RETENTION_INBOX_DAYS,
      outboxDays: env.RETENTION_OUTBOX_DAYS,
      deadLetterDays: env.RETENTION_DEAD_LETTER_DAYS,
    },
    logLevel: env.LOG_LEVEL,
    tracing: tracingConfig(env, serviceName(env.HIVER_SERVICES)),
  };
  const missing = [...missingOfKafka(config), ...(mode === 'mesh' ? missingInMesh(config) : [])];
  if (missing.length > 0) throw new ConfigError(missing.map(name => `${name} is missing`));
  return config;
}

function kafkaConfig(env: z.infer<typeof Environment>): KafkaConfig | undefined {
  if (!env.KAFKA_BROKERS) return undefined;
  const mechanism = env.KAFKA_SASL_MECHANISM;
  const [username, password] = [env.KAFKA_SASL_USERNAME ?? '', env.KAFKA_SASL_PASSWORD ?? ''];
  return { brokers: env.KAFKA_BROKERS, ssl: env.KAFKA_SSL === 'true', sasl: mechanism && { mechanism, username, password } };
}

function missingOfKafka({ kafka }: Config): string[] {
  if (!kafka?.sasl || kafka.sasl.mechanism === 'OAUTHBEARER') return [];
  const { username, password } = kafka.sasl;
  return [...(username ? [] : ['KAFKA_SASL_USERNAME']), ...(password ? [] : ['KAFKA_SASL_PASSWORD'])];
}

/** A domain has one node on each machine, unless NODE_ID tells several apart. */
function nodeName(services: readonly NodeRole[] = []): string {
  return `${hostname()}-${services.join('-') || process.pid}`.replaceAll(/[^\w-]/g, '-');
}

/** How the processes with these services are called among traces: `hiver-users`; `hiver` where one does all. */
function serviceName(services: readonly NodeRole[] = []): string {
  const domains = services.filter(role => role !== 'api' || services.length === 1);
  return domains.length < DOMAINS.length ? ['hiver', ...domains].join('-') : 'hiver';
}

/** Outside embedded mode nothing has a default secret or a database of its own. */
function missingInMesh(config: Config): string[] {
  const runs = (role: NodeRole) => config.services.includes(role);
  return [
    // Alone, and with all domains, a process needs nobody to carry events.
    ...(config.kafka || DOMAINS.every(runs) ? [] : ['KAFKA_BROKERS']),
    ...(config.kafka && config.transportKeys.length === 0 ? ['TRANSPORT_KEY'] : []),
    ...(runs('users') || config.jwt.jwksUrl ? [] : ['JWKS_URL']),
    ...DOMAINS.filter(domain => runs(domain) && !config.databaseUrls[domain]).map(databaseVariable),
    ...(runs('users') && !config.jwt.privateKeys ? ['JWT_PRIVATE_KEYS'] : []),
    ...((runs('users') || runs('notifications')) && config.sealKeys.length === 0 ? ['SEAL_KEYS'] : []),
  ];
}

/** Name of the variable that holds a domain's database URL. */
export function databaseVariable(domain: Domain): string {
  return `DATABASE_URL_${domain.toUpperCase().replace('-', '_')}`;
}

const CONFIG = Symbol.for('hiver.config');

/** Gives a broker its configuration; services read it with `configOf`. */
export function setConfig(broker: ServiceBroker, config: Config): void {
  Object.assign(broker, { [CONFIG]: config });
}

/** The configuration of the process that a service runs in. */
export function configOf(broker: ServiceBroker): Config {
  const config = (broker as ServiceBroker & { [CONFIG]?: Config })[CONFIG];
  if (!config) throw new Error('The broker has no configuration: build it with brokerOptions() of moleculer.config.ts');
  return config;
}
