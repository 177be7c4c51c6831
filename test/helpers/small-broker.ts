import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBroker, type ServiceSchema } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { afterAll } from 'vitest';
import { Authentication } from '../../mixins/auth/authentication.middleware';
import { signAccessToken } from '../../mixins/auth/tokens';
import { type Config, setConfig } from '../../mixins/config';
import { ContractValidator, type Identity, type Meta } from '../../mixins/contract';
import { Idempotency } from '../../mixins/idempotency/idempotency.middleware';

/** A broker with nothing but the services of a test, and our middlewares in their order. */
export interface SmallBroker {
  broker: ServiceBroker;
  config: Config;
  /** Calls an action as the API does: with a token, and an Idempotency-Key if there is one. */
  callAs(user: Identity | undefined, action: string, params?: object, meta?: Meta): Promise<unknown>;
  /** The same, with what the action says about its answer. */
  answerTo(user: Identity, action: string, params?: object, meta?: Meta): Promise<{ result: unknown; meta: Meta }>;
  stop(): Promise<void>;
}

const stops: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** Somebody with a session of their own. */
export function somebody(role: Identity['role'] = 'EMPLOYEE', companyId: string = uuidv7()): Identity {
  return { id: uuidv7(), companyId, role, sessionId: uuidv7() };
}

/** Starts a broker with these services; `databaseUrls` and the rest of the configuration by `overrides`. */
export async function smallBroker(services: readonly object[], overrides: Partial<Config> = {}): Promise<SmallBroker> {
  const dataDir = overrides.dataDir ?? (await mkdtemp(join(tmpdir(), 'hiver-small-')));
  const config = {
    mode: 'embedded',
    dataDir,
    databaseUrls: {},
    jwt: { issuer: 'hiver', audience: 'hiver', privateKeys: undefined },
    sealKeys: [{ id: 'test', key: randomBytes(32) }],
    ...overrides,
    retention: { inboxDays: 30, outboxDays: 7, deadLetterDays: 90 },
  } as Config;
  const broker = new ServiceBroker({
    nodeID: `test-${randomBytes(4).toString('hex')}`,
    logger: false,
    validator: new ContractValidator(),
    internalMiddlewares: false,
    middlewares: ['Validator', Idempotency, Authentication, 'ErrorHandler'],
    skipProcessEventRegistration: true,
    created: created => setConfig(created, config),
  });
  for (const service of services) broker.createService(service as ServiceSchema);
  await broker.start();
  const stop = async () => {
    stops.splice(stops.indexOf(stop), 1);
    await broker.stop();
    if (!overrides.dataDir) rmSync(dataDir, { recursive: true, force: true });
  };
  stops.push(stop);

  const metaOf = (user: Identity | undefined, meta?: Meta): Meta => ({
    ...(user && { token: signAccessToken(broker, user).accessToken }),
    ...meta,
  });
  return {
    broker,
    config,
    callAs: (user, action, params, meta) => broker.call(action, params, { meta: metaOf(user, meta) }),
    async answerTo(user, action, params, meta) {
      const given = metaOf(user, meta);
      const result = await broker.call(action, params, { meta: given });
      return { result, meta: given };
    },
    stop,
  };
}
