import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrokerOptions, type Service, ServiceBroker, type ServiceSchema } from 'moleculer';
import { afterAll } from 'vitest';
import { type Config, DOMAINS } from '../../mixins/config';
import type { Carrier } from '../../mixins/events/carrier';
import { useCarrier } from '../../mixins/events/carriers';
import type { LogOptions } from '../../mixins/logger';
import { brokerOptions } from '../../moleculer.config';
import { servicesOf } from '../../services';
import { leaveRequestsDomain } from '../../services/leave-requests/leave-requests.domain';
import { notificationsDomain } from '../../services/notifications/notifications.domain';
import { presenceDomain } from '../../services/presence/presence.domain';
import { tasksDomain } from '../../services/tasks/tasks.domain';
import { usersDomain } from '../../services/users/users.domain';
import { domainDatabase } from './database';

export interface App {
  broker: ServiceBroker;
  /** `http://127.0.0.1:<port>` of the API. */
  url: string;
  config: Config;
  /** Stops the broker; the folder and the databases stay until the file's end, for another start. */
  stop(): Promise<void>;
}

interface AppOptions {
  /** Replaces options of Moleculer's. */
  broker?: BrokerOptions;
  /** To look at what is logged; nothing is unless told. */
  log?: LogOptions;
  /** Services beside those of the configuration. */
  services?: readonly ServiceSchema[];
  /** Carries events instead of what the configuration says. */
  makeCarrier?: (broker: ServiceBroker) => Carrier;
}

const DOMAIN_DATABASES = [usersDomain, presenceDomain, tasksDomain, leaveRequestsDomain, notificationsDomain];
const running = new Set<App>();
const folders: string[] = [];

afterAll(async () => {
  await Promise.all([...running].map(app => app.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/**
 * Starts the whole application in this process: all services, on a free port and databases of its own. Stopped at the
 * end of the file, or before by `stop`.
 * @param overrides replaces parts of the configuration; the `config` of a stopped app starts it again on the same data
 */
export async function startApp(overrides: Partial<Config> = {}, options: AppOptions = {}): Promise<App> {
  const config = await testConfig(overrides);
  const broker = new ServiceBroker({ ...brokerOptions(config, { log: options.log ?? false }), ...options.broker });
  if (options.makeCarrier) useCarrier(broker, options.makeCarrier(broker));
  for (const schema of [...servicesOf(config.services), ...(options.services ?? [])]) broker.createService(schema);
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  const app: App = {
    broker,
    url: urlOf(broker),
    config,
    async stop() {
      if (running.delete(app)) await broker.stop();
    },
  };
  running.add(app);
  return app;
}

/** A complete configuration of embedded mode, with databases, a data folder and keys of its own. */
export async function testConfig(overrides: Partial<Config> = {}): Promise<Config> {
  const config: Config = {
    mode: 'embedded',
    nodeId: `test-${randomBytes(4).toString('hex')}`,
    services: [...DOMAINS, 'api'],
    host: '127.0.0.1',
    port: 0,
    metricsPort: undefined,
    dataDir: overrides.dataDir ?? dataFolder(),
    databaseUrls: {},
    kafka: undefined,
    appUrl: 'http://app.hiver.test',
    mailFrom: 'Hiver <no-reply@hiver.test>',
    smtpUrl: undefined,
    corsOrigins: [],
    trustedProxies: [],
    jwt: { issuer: 'hiver', audience: 'hiver', privateKeys: undefined, jwksUrl: undefined },
    sealKeys: [{ id: 'test', key: randomBytes(32) }],
    transportKeys: [],
    retention: { inboxDays: 30, outboxDays: 7, deadLetterDays: 90 },
    logLevel: 'info',
    tracing: undefined,
    ...overrides,
  };
  const databaseUrls = { ...config.databaseUrls };
  for (const domain of DOMAIN_DATABASES.filter(({ name }) => config.services.includes(name))) {
    databaseUrls[domain.name] ??= await domainDatabase(domain);
  }
  return { ...config, databaseUrls };
}

function dataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hiver-app-'));
  folders.push(folder);
  return folder;
}

/** Where the API of a broker listens. */
export function urlOf(broker: ServiceBroker): string {
  const api = broker.getLocalService('api') as (Service & { server: Server }) | undefined;
  const address = api?.server.address() as AddressInfo | null | undefined;
  return address ? `http://127.0.0.1:${address.port}` : '';
}
