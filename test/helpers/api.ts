import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrokerOptions, type Service, ServiceBroker, type ServiceSchema } from 'moleculer';
import { afterAll } from 'vitest';
import * as z from 'zod';
import { type Config, parseConfig } from '../../mixins/config';
import { action, contract, Nothing } from '../../mixins/contract';
import { commonProblems, problems } from '../../mixins/errors';
import { Id, line } from '../../mixins/fields';
import type { LogOptions } from '../../mixins/logger';
import { assertVersion } from '../../mixins/versions';
import { brokerOptions } from '../../moleculer.config';
import ApiService from '../../services/api/api.service';
import { SERVER_LIMITS, type ServerLimits } from '../../services/api/server';

const thingsProblems = problems({
  THINGS_NOT_FOUND: [404, 'There is no such thing.'],
  THINGS_BROKEN: [409, 'That thing is broken.'],
});

const ID = '0198c0de-0000-7000-8000-000000000001';
const Thing = z.object({ id: Id, name: z.string().max(100), version: z.int() }).meta({ id: 'Thing' });
const thing = (name = 'lamp') => ({ id: ID, name, version: 3 });

export const KNOWN_ID = ID;

/** What handlers of `things` saw of the last call. */
interface Seen {
  calls: number;
  params?: unknown;
  meta?: Record<string, unknown>;
  requestId?: string;
}

interface Gate {
  seen: Seen;
  /** Holds `things.wait` until it is called. */
  release(): void;
  waiting: number;
}

/** A service that shows each trait of the API. */
function thingsService(gate: Gate): ServiceSchema {
  let held: (() => void)[] = [];
  gate.release = () => {
    for (const go of held) go();
    held = [];
    gate.waiting = 0;
  };
  const see = (ctx: { params: unknown; meta: object; requestID: string | null }) => {
    gate.seen.calls++;
    gate.seen.params = ctx.params;
    gate.seen.meta = { ...ctx.meta };
    gate.seen.requestId = ctx.requestID ?? undefined;
  };
  const name = line(100);
  const noParams = z.strictObject({});
  return {
    name: 'things',
    actions: {
      list: action(
        contract('things.list', {
          params: z.strictObject({ search: name.optional(), page: z.coerce.number().int().optional() }),
          returns: z.object({ rows: z.array(Thing) }),
        }),
        {
          summary: 'List things',
          rest: 'GET /',
          auth: 'public',
          handler(ctx) {
            see(ctx);
            return { rows: [thing()] };
          },
        },
      ),
      get: action(
        contract('things.get', {
          params: z.strictObject({ id: Id, verbose: z.enum(['true', 'false']).optional() }),
          returns: Thing,
          problems: [thingsProblems.THINGS_NOT_FOUND],
        }),
        {
          summary: 'Read a thing',
          rest: 'GET /:id',
          auth: 'public',
          versioned: true,
          handler(ctx) {
            see(ctx);
            if (ctx.params.id !== ID) throw thingsProblems.THINGS_NOT_FOUND();
            return thing();
          },
        },
      ),
      mine: action(contract('things.mine', { params: noParams, returns: Thing }), {
        summary: 'Read my thing',
        rest: 'GET /mine',
        auth: 'authenticated',
        handler(ctx) {
          see(ctx);
          return thing();
        },
      }),
      create: action(
        contract('things.create', {
          params: z.strictObject({ name, tags: z.array(name).optional(), deep: z.unknown().optional() }),
          returns: Thing,
        }),
        {
          summary: 'Make a thing',
          rest: 'POST /',
          auth: ['ADMIN', 'MANAGER'],
          status: 201,
          location: '/things/{id}',
          handler(ctx) {
            see(ctx);
            return thing(ctx.params.name);
          },
        },
      ),
      update: action(contract('things.update', { params: z.strictObject({ id: Id, name: name.optional() }), returns: Thing }), {
        summary: 'Change a thing',
        rest: 'PATCH /:id',
        auth: 'authenticated',
        versioned: true,
        handler(ctx) {
          see(ctx);
          if (ctx.params.id !== ID) throw thingsProblems.THINGS_NOT_FOUND();
          assertVersion(ctx, thing());
          return { ...thing(ctx.params.name), version: 4 };
        },
      }),
      remove: action(contract('things.remove', { params: z.strictObject({ id: Id }), returns: Nothing }), {
        summary: 'Remove a thing',
        rest: 'DELETE /:id',
        auth: ['ADMIN'],
        status: 204,
        handler(ctx) {
          see(ctx);
        },
      }),
      touch: action(contract('things.touch', { params: noParams, returns: z.object({ touched: z.boolean() }) }), {
        summary: 'Touch all things',
        rest: 'POST /touch',
        auth: 'public',
        handler(ctx) {
          see(ctx);
          return { touched: true };
        },
      }),
      load: action(
        contract('things.load', {
          params: z.strictObject({ csv: z.instanceof(Buffer), dryRun: z.enum(['true', 'false']).optional() }),
          returns: z.object({ bytes: z.int() }),
        }),
        {
          summary: 'Load things',
          rest: 'POST /load',
          auth: 'public',
          body: 'text/csv',
          bodyLimit: 2_000_000,
          query: ['dryRun'],
          handler(ctx) {
            see(ctx);
            return { bytes: ctx.params.csv.length };
          },
        },
      ),
      fail: action(contract('things.fail', { params: z.strictObject({ how: z.string().max(40) }), returns: Nothing }), {
        summary: 'Fail',
        rest: 'GET /fail/:how',
        auth: 'public',
        status: 204,
        handler(ctx) {
          throw failure(ctx.params.how);
        },
      }),
      wait: action(contract('things.wait', { params: noParams, returns: Thing }), {
        summary: 'Wait',
        rest: 'GET /wait',
        auth: 'public',
        async handler() {
          const { promise, resolve } = Promise.withResolvers<void>();
          held.push(resolve);
          gate.waiting++;
          await promise;
          return thing();
        },
      }),
      secret: action(contract('things.secret', { params: noParams, returns: Nothing }), {
        summary: 'Not for clients',
        auth: 'internal',
        handler() {},
      }),
    },
  } as ServiceSchema;
}

function failure(how: string): Error {
  if (how === 'conflict') return thingsProblems.THINGS_BROKEN({ detail: 'It fell.', members: { pieces: 2 } });
  if (how === 'throttled') return commonProblems.TOO_MANY_REQUESTS({ retryAfter: 7 });
  if (how === 'unavailable') return commonProblems.UNAVAILABLE({ detail: 'postgres://secret' });
  if (how === 'moleculer')
    return Object.assign(new Error('Request is timed out'), {
      code: 504,
      type: 'REQUEST_TIMEOUT',
      data: { action: 'secret.action' },
    });
  return Object.assign(new Error('password of the database is hunter2'), {
    data: { secret: 'hunter2' },
    code: how === 'code' ? 418 : undefined,
  });
}

export interface Things {
  broker: ServiceBroker;
  url: string;
  gate: Gate;
  seen: Seen;
  /** Resolves when all services have started. */
  started: Promise<void>;
  stop(): Promise<void>;
}

const running = new Set<Things>();
const folders: string[] = [];

afterAll(async () => {
  await Promise.all([...running].map(things => things.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A node without databases: what the environment says of nothing, with a key of its own. */
function apiConfig(overrides: Partial<Config>): Config {
  const dataDir = mkdtempSync(join(tmpdir(), 'hiver-api-'));
  folders.push(dataDir);
  return { ...parseConfig({ DATA_DIR: dataDir, PORT: '0', HOST: '127.0.0.1' }), ...overrides };
}

/**
 * Starts the API beside `things`, a service of the test, without a database.
 * @param options `until` holds the start of another service, and so the end of the broker's start, until it resolves;
 * `broker` replaces options of Moleculer's
 */
export async function startThings(
  overrides: Partial<Config> = {},
  {
    limits = {},
    log = false,
    until: held,
    broker: options = {},
  }: { limits?: Partial<ServerLimits>; log?: LogOptions | false; until?: Promise<void>; broker?: BrokerOptions } = {},
): Promise<Things> {
  const config = apiConfig(overrides);
  const broker = new ServiceBroker({ ...brokerOptions(config, { log }), ...options });
  const gate: Gate = { seen: { calls: 0 }, release: () => undefined, waiting: 0 };
  const api = broker.createService({
    ...ApiService,
    settings: { ...ApiService.settings, limits: { ...SERVER_LIMITS, ...limits } },
  } as ServiceSchema);
  broker.createService(thingsService(gate));
  if (held) broker.createService({ name: 'slow', started: () => held });
  const started = broker.start();
  const { server } = api as Service & { server: Server };
  await (held ? once(server, 'listening') : started);
  const { port } = server.address() as AddressInfo;
  const things: Things = {
    broker,
    url: `http://127.0.0.1:${port}`,
    gate,
    seen: gate.seen,
    started,
    async stop() {
      gate.release();
      if (running.delete(things)) await broker.stop();
    },
  };
  running.add(things);
  return things;
}
