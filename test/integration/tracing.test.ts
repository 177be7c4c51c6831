import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { ServiceBroker, type ServiceSchema } from 'moleculer';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { tracingOf } from '../../mixins/tracing/tracing';
import { brokerOptions } from '../../moleculer.config';
import { type App, startApp, testConfig } from '../helpers/app';
import { Client } from '../helpers/client';
import { startCollector, tracingTo } from '../helpers/otlp';
import { signUp, uniqueEmail } from '../helpers/people';
import { occupyPort } from '../helpers/processes';
import { until } from '../helpers/until';

const CLIENT_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CLIENT_SPAN = '00f067aa0ba902b7';
const traceparent = (flags = '01', traceId = CLIENT_TRACE) => `00-${traceId}-${CLIENT_SPAN}-${flags}`;

const somebody = () => ({ firstName: 'Ida', lastName: 'Invited', email: uniqueEmail('ida'), role: 'EMPLOYEE' });

/** The `traceparent` of the newest event of that topic. */
async function recorded({ config }: App, topic: string): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: config.databaseUrls.users });
  await client.connect();
  const { rows } = await client.query(
    `select envelope::json->>'traceparent' as traceparent from outbox where topic = $1 order by seq desc limit 1`,
    [topic],
  );
  await client.end();
  return rows[0]?.traceparent ?? undefined;
}

describe('a trace', () => {
  it('goes from the request through the action and the outbox to what the event causes in other domains', async () => {
    const collector = await startCollector();
    const app = await startApp({ tracing: tracingTo(collector.url) });
    const admin = await signUp(new Client(app.url));
    const person = somebody();
    const { status, body } = await admin.client.post('/users', person);
    expect(status).toBe(201);
    const http = await collector.span({ name: 'POST /users' });
    const { traceId } = http;
    expect(http).toMatchObject({ kind: 'SERVER', parentSpanId: '', isError: false, service: 'hiver' });
    expect(http.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/users',
      'http.response.status_code': 201,
      'url.scheme': 'http',
    });
    const action = await collector.span({ traceId, name: 'users.create' });
    expect(action).toMatchObject({ kind: 'INTERNAL', parentSpanId: http.spanId, isError: false });
    for (const group of ['notifications', 'presence', 'tasks', 'leave-requests']) {
      const handled = await until(() =>
        collector.spans.find(span => span.traceId === traceId && span.attributes['messaging.consumer.group.name'] === group),
      );
      expect(handled).toMatchObject({ name: 'process users.create', kind: 'CONSUMER', parentSpanId: action.spanId });
      expect(handled.attributes).toMatchObject({ 'messaging.destination.name': 'users.create' });
    }
    const kinds = () =>
      collector.spans
        .filter(span => span.traceId === traceId && span.attributes['hiver.service'] === 'notifications')
        .map(({ attributes }) => attributes['messaging.operation.name']);
    await until(() => kinds().length === 2);
    expect(kinds().sort()).toEqual(['reaction', 'replica']);
    const bytes = Buffer.concat(collector.received.map(request => request.bytes)).toString('latin1');
    for (const secret of [person.email, person.lastName, body.id, admin.company.id, admin.accessToken])
      expect(bytes).not.toContain(secret);
    for (const { path, type } of collector.received) expect([path, type]).toEqual(['/v1/traces', 'application/x-protobuf']);
  });

  it('goes on from the one that the client has begun', async () => {
    const collector = await startCollector();
    const app = await startApp({ services: ['users', 'api'], tracing: tracingTo(collector.url) });
    await new Client(app.url).get('/users/me', { headers: { traceparent: traceparent() } });
    const http = await collector.span({ name: 'GET /users/me' });
    expect(http).toMatchObject({ traceId: CLIENT_TRACE, parentSpanId: CLIENT_SPAN, isError: false });
    expect(http.attributes).toMatchObject({ 'http.response.status_code': 401 });
  });

  it.each([
    ['not hexadecimal', 'x'.repeat(55)],
    ['too long', `${traceparent()}-00`],
    ['of no trace', traceparent('01', '0'.repeat(32))],
    ['of a version that there is not', traceparent().replace(/^00/, 'ff')],
    ['very long', 'a'.repeat(10_000)],
    ['twice there', `${traceparent()}, ${traceparent()}`],
  ])('is a new one where the traceparent is %s', async (_, malformed) => {
    const collector = await startCollector();
    const app = await startApp({ services: ['api'], tracing: tracingTo(collector.url) });
    const { status } = await new Client(app.url).get('/nowhere', { headers: { traceparent: malformed } });
    expect(status).toBe(404);
    const http = await collector.span({ name: 'GET' });
    expect(http.parentSpanId).toBe('');
    expect(http.traceId).not.toBe(CLIENT_TRACE);
    expect(http.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
  });

  it('is not recorded by the sampler, whatever a client says, and says so to those further on', async () => {
    const collector = await startCollector();
    const app = await startApp({ tracing: tracingTo(collector.url, { ratio: 0 }) });
    const admin = await signUp(new Client(app.url));
    expect(await recorded(app, 'users.create')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    await admin.client.post('/users', somebody());
    const headers = { traceparent: traceparent('01', '0'.repeat(31).concat('1')) };
    await admin.client.send('POST', '/users', somebody(), { headers });
    expect(await recorded(app, 'users.create')).toMatch(/^00-0{31}1-[0-9a-f]{16}-00$/);
    // Sent on the way out, if anything were.
    await app.stop();
    expect(collector.received).toEqual([]);
  });

  it('is not recorded where the client says so, unless the sampler goes by nobody', async () => {
    const collector = await startCollector();
    const following = await startApp({ services: ['api'], tracing: tracingTo(collector.url) });
    await new Client(following.url).get('/nowhere', { headers: { traceparent: traceparent('00') } });
    await following.stop();
    expect(collector.spans).toEqual([]);
    const sampler = 'always_on' as const;
    const other = await startApp({ services: ['api'], tracing: tracingTo(collector.url, { sampler }) });
    await new Client(other.url).get('/nowhere', { headers: { traceparent: traceparent('00') } });
    await collector.span({ traceId: CLIENT_TRACE, parentSpanId: CLIENT_SPAN });
  });

  it('is named in the lines about the request, where it is recorded', async () => {
    const collector = await startCollector();
    const lines: string[] = [];
    const log = { to: { write: (text: string) => void lines.push(...text.trim().split('\n')) } };
    const app = await startApp({ services: ['api'], tracing: tracingTo(collector.url) }, { log });
    await new Client(app.url).get('/nowhere', { headers: { traceparent: traceparent() } });
    await new Client(app.url).get('/nowhere', { headers: { traceparent: traceparent('00') } });
    const requests = () => lines.map(line => JSON.parse(line)).filter(({ msg }) => msg === 'request');
    await until(() => requests().length === 2);
    expect(requests().map(({ traceId }) => traceId)).toEqual([CLIENT_TRACE, undefined]);
  });

  it('leaves health checks out', async () => {
    const collector = await startCollector();
    const app = await startApp({ services: ['api'], tracing: tracingTo(collector.url) });
    await new Client(app.url).get('/health/live');
    await new Client(app.url).get('/nowhere');
    await app.stop();
    expect(collector.spans.map(({ name }) => name)).toEqual(['GET']);
  });
});

describe('a trace over nodes', () => {
  const brokers: ServiceBroker[] = [];
  afterEach(async () => {
    for (const broker of brokers.splice(0)) await broker.stop();
  });

  async function node(url: string, service: ServiceSchema): Promise<ServiceBroker> {
    const config = await testConfig({ services: [], tracing: tracingTo(url, { serviceName: service.name }) });
    const broker = new ServiceBroker({ ...brokerOptions(config, { log: false }), transporter: 'Fake' });
    broker.createService(service);
    await broker.start();
    brokers.push(broker);
    return broker;
  }

  it('goes with the calls from node to node, and knows refusals from failures', async () => {
    const collector = await startCollector();
    const name = `answerer${randomBytes(4).toString('hex')}`;
    const asker = await node(collector.url, {
      name: `${name}-asker`,
      actions: {
        ask: {
          auth: 'internal',
          handler: async ctx => {
            const answers = await Promise.allSettled(['yes', 'refuse', 'fail'].map(how => ctx.call(`${name}.answer`, { how })));
            return answers.map(({ status }) => status);
          },
        },
      },
    });
    await node(collector.url, {
      name,
      actions: {
        answer: {
          auth: 'internal',
          handler(ctx) {
            const { how } = ctx.params as { how: string };
            if (how === 'yes') return how;
            throw Object.assign(new Error('hunter2'), { type: how.toUpperCase(), code: how === 'refuse' ? 409 : 500 });
          },
        },
      },
    });
    await asker.waitForServices(name);
    expect(await asker.call(`${name}-asker.ask`)).toEqual(['fulfilled', 'rejected', 'rejected']);
    const root = await collector.span({ name: `${name}-asker.ask`, kind: 'INTERNAL', parentSpanId: '' });
    const of = (kind: string) => collector.spans.filter(span => span.traceId === root.traceId && span.kind === kind);
    await until(() => of('CLIENT').length === 3 && of('SERVER').length === 3);
    for (const [kind, service] of [
      ['CLIENT', `${name}-asker`],
      ['SERVER', name],
    ] as const) {
      expect(of(kind).every(span => span.name === `${name}.answer` && span.service === service)).toBe(true);
      const outcomes = of(kind).map(({ attributes, isError }) => `${attributes['error.type']} ${isError}`);
      expect(outcomes.sort()).toEqual(['FAIL true', 'REFUSE false', 'undefined false']);
    }
    expect(of('CLIENT').map(span => span.parentSpanId)).toEqual(Array(3).fill(root.spanId));
    expect(
      of('SERVER')
        .map(span => span.parentSpanId)
        .sort(),
    ).toEqual(
      of('CLIENT')
        .map(span => span.spanId)
        .sort(),
    );
    expect(Buffer.concat(collector.received.map(({ bytes }) => bytes)).toString('latin1')).not.toContain('hunter2');
  });
});

describe('the collector of traces', () => {
  it('harms nothing when it is gone', async () => {
    const { port, close } = await occupyPort();
    close();
    const lines: string[] = [];
    const log = { to: { write: (text: string) => void lines.push(text) } };
    const url = `http://127.0.0.1:${port}/v1/traces`;
    const batch = { delay: 20, exportTimeout: 200, queueSize: 4, size: 2 };
    const app = await startApp({ services: ['api'], tracing: tracingTo(url, { batch }) }, { log });
    for (let n = 0; n < 50; n++) expect((await new Client(app.url).get('/nowhere')).status).toBe(404);
    await app.stop();
    expect(lines.filter(line => line.includes('"level":"error"'))).toEqual([]);
  });

  it('is missed once in the log, and once more when it is back', async () => {
    const collector = await startCollector(400);
    const lines: string[] = [];
    const log = { to: { write: (text: string) => void lines.push(...text.trim().split('\n')) } };
    const app = await startApp({ services: ['api'], tracing: tracingTo(collector.url) }, { log });
    for (const count of [1, 2, 3]) {
      await new Client(app.url).get('/nowhere');
      await until(() => collector.received.length === count);
    }
    collector.status = 200;
    await new Client(app.url).get('/nowhere');
    const said = () => lines.map(line => JSON.parse(line)).filter(({ mod }) => mod === 'tracing');
    await until(() => said().length > 1);
    expect(said().map(({ level }) => level)).toEqual(['warn', 'info']);
    expect(said()[0].msg).toMatch(/^Traces do not leave, and are lost: /);
  });

  it('holds the end up for a moment only when it does not answer', async () => {
    const collector = await startCollector(0);
    const app = await startApp({ services: ['api'], tracing: tracingTo(collector.url) });
    await new Client(app.url).get('/nowhere');
    await until(() => collector.open === 1);
    await app.stop();
    // Neither answered nor given up: nobody waits for it any more.
    expect(collector.open).toBe(1);
  });

  it('gets what is left at the end', async () => {
    const collector = await startCollector();
    const batch = { delay: 60_000, exportTimeout: 5_000, queueSize: 2_048, size: 512 };
    const app = await startApp({ services: ['api'], tracing: tracingTo(collector.url, { batch }) });
    await new Client(app.url).get('/nowhere');
    expect(collector.spans).toEqual([]);
    await app.stop();
    expect(collector.spans).toHaveLength(1);
  });
});

describe('without an endpoint', () => {
  it('nothing is traced, and events name no trace', async () => {
    const app = await startApp();
    expect(tracingOf(app.broker)).toBeUndefined();
    const headers = { traceparent: traceparent() };
    const admin = await signUp(new Client(app.url));
    expect((await admin.client.send('POST', '/users', somebody(), { headers })).status).toBe(201);
    expect(await recorded(app, 'users.create')).toBeUndefined();
  });

  it('neither OpenTelemetry nor prom-client is loaded', () => {
    const script = `const { ServiceBroker } = require('moleculer');
      const { parseConfig } = require('./mixins/config');
      const { brokerOptions } = require('./moleculer.config');
      const config = parseConfig({ PORT: '0' });
      new ServiceBroker(brokerOptions(config, { log: false })).createService(require('./services/api/api.service').default);
      const loaded = Object.keys(require.cache).filter(file => /@opentelemetry|prom-client/.test(file));
      process.stdout.write(String(loaded.length));`;
    const output = execFileSync(process.execPath, ['--import', 'tsx', '-e', script], { encoding: 'utf8' });
    expect(output).toBe('0');
  });
});
