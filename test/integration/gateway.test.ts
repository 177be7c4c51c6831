import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { ServiceBroker, type ServiceSchema } from 'moleculer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { configOf } from '../../mixins/config';
import { action, contract } from '../../mixins/contract';
import { brokerOptions } from '../../moleculer.config';
import { startThings, type Things } from '../helpers/api';
import { type App, startApp } from '../helpers/app';
import { bearer, expectProblem, json } from '../helpers/http';
import { until } from '../helpers/until';

// A node without services makes itself known by its heartbeat.
const OVER_FAKE = { broker: { transporter: 'Fake', heartbeatInterval: 1 } } as const;
const Answer = z.object({ answer: z.string().max(10) });

/** A service that no gateway has in its code. */
function gadgets(paths: Record<string, string>, version: { timeout?: number; takes?: number } = {}): ServiceSchema {
  const actions = Object.entries(paths).map(([name, rest]) => [
    name,
    action(contract(`gadgets.${name}`, { params: z.object({ id: z.string().optional() }), returns: Answer }), {
      summary: 'Answer',
      rest,
      auth: 'public',
      timeout: version.timeout,
      async handler() {
        await delay(version.takes ?? 0);
        return { answer: name };
      },
    }),
  ]);
  return { name: 'gadgets', actions: Object.fromEntries(actions) };
}

let things: Things;
let gateway: App;
const brokers: ServiceBroker[] = [];

/** A node without HTTP. */
async function startNode(nodeId: string, ...services: ServiceSchema[]): Promise<ServiceBroker> {
  const config = { ...configOf(things.broker), nodeId };
  const broker = new ServiceBroker({ ...brokerOptions(config, { log: false }), ...OVER_FAKE.broker });
  for (const service of services) broker.createService(service);
  brokers.push(broker);
  await broker.start();
  return broker;
}

beforeAll(async () => {
  things = await startThings({ nodeId: 'things' }, OVER_FAKE);
  gateway = await startApp({ services: ['api'], dataDir: configOf(things.broker).dataDir }, OVER_FAKE);
  await gateway.broker.waitForServices(['things']);
});

afterAll(() => Promise.all(brokers.map(broker => broker.stop())));

const get = (path: string, init?: RequestInit) => fetch(gateway.url + path, init);
const read = async (path: string) => {
  const response = await get(path);
  const body = (await response.json()) as Record<string, any>;
  return { status: response.status, ...body } as Record<string, any>;
};

describe('the routes of a gateway', () => {
  it('are those of its code, and what nodes of another version tell', async () => {
    expect((await get('/things/fail/conflict')).status).toBe(409);
    expect((await read('/users')).code).toBe('UNAUTHENTICATED');
    await expectProblem(await get('/gadgets'), 404, 'NOT_FOUND');
    const node = await startNode('gadgets', gadgets({ list: 'GET /', get: 'GET /:id' }));
    await until(async () => (await read('/gadgets')).answer === 'list');
    expect(await read('/gadgets/7')).toEqual({ status: 200, answer: 'get' });

    // The next version: the path's parameter has another name, a path has come and one has gone.
    await node.destroyService('gadgets');
    const response = await until(async () => {
      const gone = await get('/gadgets');
      return gone.status !== 200 && gone;
    });
    expect(response.headers.get('retry-after')).toBe('1');
    await expectProblem(response, 503, 'UNAVAILABLE');
    const next = gadgets({ get: 'GET /:gadgetId', all: 'GET /all' });
    node.createService(next);
    await until(async () => (await read('/gadgets/all')).answer === 'all');
    await expectProblem(await get('/gadgets'), 404, 'NOT_FOUND');
    expect((await get('/gadgets/7', { method: 'PUT' })).headers.get('allow')).toBe('GET, HEAD, OPTIONS');
  });

  it('show nothing that an action does not publish', async () => {
    for (const path of ['/things/secret', '/$node/list', '/api/rest', '/~node/services', '/things.secret']) {
      await expectProblem(await get(path), 404, 'NOT_FOUND');
    }
  });

  it("keep an action's own time-out, which may be longer than everybody's", async () => {
    const slow = { ...gadgets({ wait: 'GET /wait' }, { timeout: 5_000, takes: 300 }), name: 'slow' };
    const slower = { ...gadgets({ wait: 'GET /wait' }, { takes: 300 }), name: 'slower' };
    await startNode('slow', slow, slower);
    const hasty = await startApp(gateway.config, { broker: { ...OVER_FAKE.broker, nodeID: 'hasty', requestTimeout: 100 } });
    await hasty.broker.waitForServices(['slow', 'slower']);
    expect((await fetch(`${hasty.url}/slow/wait`)).status).toBe(200);
    await expectProblem(await fetch(`${hasty.url}/slower/wait`), 503, 'UNAVAILABLE');
    await hasty.stop();
  });
});

describe('errors of other nodes', () => {
  it.each(['conflict', 'throttled', 'unavailable', 'moleculer', 'code', 'other'])(
    'are told as they are at home: %s',
    async how => {
      const told = async (url: string) => {
        const response = await fetch(`${url}/things/fail/${how}`);
        const { requestId, ...body } = (await response.json()) as Record<string, unknown>;
        return { status: response.status, retryAfter: response.headers.get('retry-after'), body };
      };
      expect(await told(gateway.url)).toEqual(await told(things.url));
    },
  );

  it('are 503 when the node goes in the middle of a call', async () => {
    const leaving = await startNode('leaving', {
      ...gadgets({ wait: 'GET /wait' }, { timeout: 60_000, takes: 1_000 }),
      name: 'gone',
    });
    await until(async () => (await get('/gone/wait', { method: 'HEAD' })).status === 200);
    const answer = get('/gone/wait');
    await until(() => gateway.broker.transit!.pendingRequests.size > 0);
    await leaving.transit!.disconnect();
    await expectProblem(await answer, 503, 'UNAVAILABLE');
  });
});

describe('a call of another node', () => {
  const unknown = { code: 401, type: 'UNAUTHENTICATED' };

  it('cannot bring an identity along, only a token', async () => {
    const calls = things.seen.calls;
    const user = { id: 'x', companyId: 'x', role: 'ADMIN', sessionId: 'x' };
    const create = (meta: object) => gateway.broker.call('things.create', { name: 'lamp' }, { meta });
    await expect(create({})).rejects.toMatchObject(unknown);
    await expect(create({ user })).rejects.toMatchObject(unknown);
    await expect(create({ user, token: 'a.b.c' })).rejects.toMatchObject(unknown);
    const token = bearer(things.broker, 'EMPLOYEE').Authorization?.slice(7);
    await expect(create({ user, token })).rejects.toMatchObject({ code: 403, type: 'FORBIDDEN' });
    expect(things.seen.calls).toBe(calls);
    await create({ user, token: bearer(things.broker, 'ADMIN').Authorization?.slice(7) });
    expect((things.seen.meta as { user: { id: string } }).user.id).not.toBe('x');
  });

  it('brings large JSON whole', async () => {
    const deep = Array.from({ length: 3_000 }, (_, n) => ({ n, text: 'é'.repeat(100), large: 1e20 }));
    const response = await get('/things', json({ name: 'lamp', deep }, { headers: bearer(things.broker, 'ADMIN') }));
    expect(response.status).toBe(201);
    expect(things.seen.params).toEqual({ name: 'lamp', deep });
  });
});

describe('bytes on their way to another node', () => {
  const load = (stream: Readable, options: object = {}) => gateway.broker.call('things.load', {}, { stream, ...options });
  const open = () => things.broker.transit!.pendingReqStreams.size;
  const chunk = Buffer.from('abc').toString('base64');

  it('arrive as they are', async () => {
    const bytes = randomBytes(1_900_000);
    const response = await get('/things/load?dryRun=true', {
      method: 'POST',
      body: bytes,
      headers: { 'Content-Type': 'text/csv' },
    });
    expect(await response.json()).toEqual({ bytes: bytes.length });
    const { csv, dryRun } = things.seen.params as { csv: Buffer; dryRun: string };
    expect([csv.equals(bytes), dryRun]).toEqual([true, 'true']);
    expect(await gateway.broker.call('things.load', { csv: Buffer.alloc(0) })).toEqual({ bytes: 0 });
    expect(open()).toBe(0);
  });

  it('are bounded, whoever sends them', async () => {
    const calls = things.seen.calls;
    const tooLarge = { code: 413, type: 'BODY_TOO_LARGE' };
    await expect(gateway.broker.call('things.load', { csv: Buffer.alloc(2_000_001) })).rejects.toMatchObject(tooLarge);
    await expect(load(Readable.from([{ bytes: 3 }, chunk, chunk]))).rejects.toMatchObject({ code: 503 });
    await until(() => open() === 0);
    expect(things.seen.calls).toBe(calls);
  });

  it('are not taken for the whole when a part is missing', async () => {
    const calls = things.seen.calls;
    const unavailable = { code: 503, type: 'UNAVAILABLE' };
    await expect(load(Readable.from([{ bytes: 4 }, chunk]))).rejects.toMatchObject(unavailable);
    await expect(load(Readable.from([chunk]))).rejects.toMatchObject(unavailable);
    await expect(load(Readable.from([]))).rejects.toMatchObject(unavailable);
    const breaks = async function* () {
      yield { bytes: 6 };
      yield chunk;
      await delay(10);
      throw new Error('The sender broke');
    };
    await expect(load(Readable.from(breaks()))).rejects.toMatchObject(unavailable);
    expect(things.seen.calls).toBe(calls);
    expect(open()).toBe(0);
  });

  it('are given up when they do not come to an end in time, or their sender dies', async () => {
    const calls = things.seen.calls;
    const hanging = () => {
      const stream = new Readable({ objectMode: true, read: () => undefined });
      stream.push({ bytes: 6 });
      stream.push(chunk);
      return stream;
    };
    await expect(load(hanging(), { timeout: 200 })).rejects.toMatchObject({ code: expect.toBeOneOf([503, 504]) });
    await until(() => open() === 0);
    const sender = await startNode('sender');
    await sender.waitForServices('things');
    await until(() => things.broker.registry.nodes.get('sender')?.available);
    sender.call('things.load', {}, { stream: hanging(), timeout: 60_000 }).catch(() => undefined);
    await until(() => open() > 0);
    await sender.transit!.disconnect();
    await until(() => open() === 0);
    expect(things.seen.calls).toBe(calls);
  });

  it('of somebody who may not call are dropped', async () => {
    const stream = Readable.from([{ bytes: 300_000 }, ...Array.from({ length: 100 }, () => 'A'.repeat(4_000))]);
    await expect(gateway.broker.call('things.create', {}, { stream })).rejects.toMatchObject({ code: 401 });
    await until(() => open() === 0);
  });
});
