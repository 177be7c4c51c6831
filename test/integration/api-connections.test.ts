import type { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { startThings, type Things } from '../helpers/api';
import { bearer, expectProblem, rawConnection } from '../helpers/http';
import { until } from '../helpers/until';

const FAST = { headersTimeout: 300, requestTimeout: 600, checkInterval: 50, idleTimeout: 1_500, drainTimeout: 700 };
const connectionsOf = ({ broker }: Things) =>
  new Promise<number>(resolve => {
    const { server } = broker.getLocalService('api') as unknown as { server: ReturnType<typeof createServer> };
    server.getConnections((_, count) => resolve(count));
  });

/** The problem document of a raw answer. */
function problemIn(raw: string): Record<string, unknown> {
  const [head = '', body = ''] = raw.split('\r\n\r\n');
  expect(head).toContain('Content-Type: application/problem+json');
  expect(head).toContain("Content-Security-Policy: default-src 'none'; frame-ancestors 'none'");
  expect(head).toContain('Connection: close');
  const problem = JSON.parse(body) as Record<string, unknown>;
  expect(head).toContain(`X-Request-Id: ${problem.requestId}`);
  return problem;
}

describe('what is no HTTP', () => {
  it.each([
    ['GARBAGE\r\n\r\n', 400, 'REQUEST_MALFORMED'],
    ['GET / HTTP/9.9\r\nHost: x\r\n\r\n', 400, 'REQUEST_MALFORMED'],
    ['GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n', 400, 'REQUEST_MALFORMED'],
    [
      'POST /things/touch HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
      'REQUEST_MALFORMED',
    ],
    [`GET /things?search=${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
    [`GET /things HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
  ])('is a problem document, too', async (bytes, status, code) => {
    const { url } = await startThings();
    const connection = rawConnection(url);
    connection.send(bytes);
    await connection.closed();
    expect(connection.received()).toContain(`HTTP/1.1 ${status} `);
    expect(problemIn(connection.received())).toMatchObject({ status, code, type: `urn:hiver:problem:${code}` });
  });

  it('is a request without Host, as well', async () => {
    const connection = rawConnection((await startThings()).url);
    connection.send('GET /things HTTP/1.1\r\n\r\n');
    expect(await connection.receives('REQUEST_MALFORMED')).toContain('HTTP/1.1 400 ');
  });

  it('leaves the absolute form of a target and the body of a GET in peace', async () => {
    const connection = rawConnection((await startThings()).url);
    connection.send('GET http://x/things?page=2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello');
    expect(await connection.receives('"rows"')).toContain('HTTP/1.1 200 ');
    connection.send('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n');
    await connection.receives('{"status":"ok"}');
    connection.socket.destroy();
  });
});

describe('slow and half-open clients', () => {
  it.each([
    ['that send nothing', ''],
    ['that stop in the middle of the headers', 'GET /things HTTP/1.1\r\nHost: x\r\nX-Slow: '],
    [
      'that stop in the middle of the body',
      'POST /things/touch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a',
    ],
  ])('are closed: those %s', async (_, bytes) => {
    const things = await startThings({}, { limits: FAST });
    const clients = Array.from({ length: 30 }, () => rawConnection(things.url));
    for (const client of clients) client.send(bytes);
    await until(async () => (await connectionsOf(things)) === 30);
    for (const client of clients) await client.closed();
    expect(await connectionsOf(things)).toBe(0);
    expect(things.seen.calls).toBe(0);
    for (const client of clients) expect(problemIn(client.received())).toMatchObject({ status: 408, code: 'REQUEST_TOO_SLOW' });
  });

  it('are closed when they trickle their headers', async () => {
    const { url } = await startThings({}, { limits: FAST });
    const client = rawConnection(url);
    client.send('GET /things HTTP/1.1\r\n');
    const trickle = setInterval(() => client.isClosed() || client.send('X-A: b\r\n'), 50);
    await client.closed().finally(() => clearInterval(trickle));
    expect(client.received()).toContain('HTTP/1.1 408 ');
  });

  it('are closed when they do not read their answers', async () => {
    const things = await startThings({}, { limits: FAST });
    const client = rawConnection(things.url);
    client.socket.pause();
    client.send('GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(8));
    await until(async () => (await connectionsOf(things)) === 1);
    await until(async () => (await connectionsOf(things)) === 0, { timeout: 8_000 });
    client.socket.destroy();
  });
});

describe('a body that is refused', () => {
  it('is not asked for when its headers tell enough', async () => {
    const client = rawConnection((await startThings()).url);
    const head = (length: number) =>
      `POST /things/load HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
    client.send(head(2));
    await client.receives('HTTP/1.1 100 Continue\r\n\r\n');
    client.send('ab');
    await client.receives('{"bytes":2}');
    client.send(head(9_000_000));
    const raw = await client.receives('BODY_TOO_LARGE');
    expect(raw.match(/100 Continue/g)).toHaveLength(1);
    client.socket.destroy();
  });

  it('leaves the connection usable when little of it is left', async () => {
    const client = rawConnection((await startThings()).url);
    client.send('POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n');
    await client.receives('UNAUTHENTICATED');
    client.send('helloGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n');
    await client.receives('{"status":"ok"}');
    client.socket.destroy();
  });

  it('does not keep the connection open for ever', async () => {
    const things = await startThings();
    const client = rawConnection(things.url);
    client.send('POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n');
    await client.receives('UNAUTHENTICATED');
    await client.closed();
  });
});

describe('starting', () => {
  it('says 503 until every service is there, and that the process lives', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const things = await startThings({}, { until: promise });
    const get = (path: string) => fetch(things.url + path);
    const early = await get('/things');
    expect(early.headers.get('retry-after')).toBe('1');
    await expectProblem(early, 503, 'UNAVAILABLE');
    await expectProblem(await get('/not/there/yet'), 503, 'UNAVAILABLE');
    await expectProblem(await get('/health/ready'), 503, 'UNAVAILABLE');
    expect((await get('/health/live')).status).toBe(200);
    resolve();
    await things.started;
    for (const path of ['/things', '/health/ready']) expect((await get(path)).status).toBe(200);
    await expectProblem(await get('/not/there/yet'), 404, 'NOT_FOUND');
  });
});

describe('stopping', () => {
  const stopped: Promise<void>[] = [];
  afterEach(async () => {
    await Promise.all(stopped.splice(0));
  });
  const stop = (things: Things) => {
    const done = things.broker.stop();
    stopped.push(done);
    return done;
  };

  it('answers open requests, refuses new connections and closes the others', async () => {
    const things = await startThings();
    const idle = rawConnection(things.url);
    const waiting = fetch(`${things.url}/things/wait`);
    await until(() => things.gate.waiting === 1);
    await until(async () => (await connectionsOf(things)) === 2);
    const done = stop(things);
    await idle.closed();
    await until(() =>
      fetch(`${things.url}/health/live`).then(
        () => false,
        () => true,
      ),
    );
    things.gate.release();
    const answer = await waiting;
    expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close']);
    expect(await answer.json()).toMatchObject({ name: 'lamp' });
    const started = Date.now();
    await done;
    expect(Date.now() - started).toBeLessThan(600);
  });

  it('does not wait for ever', async () => {
    const things = await startThings({}, { limits: FAST });
    const client = rawConnection(things.url);
    client.send('GET /things/wait HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => things.gate.waiting === 1);
    const started = Date.now();
    await stop(things);
    expect(Date.now() - started).toBeLessThan(2_000);
    await client.closed();
  });
});

describe('the log', () => {
  it('has one line a request, without what tells of people', async () => {
    const lines: string[] = [];
    const things = await startThings({}, { log: { to: { write: line => void lines.push(line) } } });
    const headers = {
      'X-Request-Id': 'mine',
      'X-Forwarded-For': '203.0.113.7',
      'Content-Type': 'application/json',
      Authorization: 'Bearer abc.def.ghi',
    };
    await fetch(`${things.url}/things?search=Moreau`, { headers });
    await expectProblem(await fetch(`${things.url}/things/0198c0de-0000-7000-8000-00000000abcd`), 404, 'THINGS_NOT_FOUND');
    await expectProblem(await fetch(`${things.url}/Moreau`), 404, 'NOT_FOUND');
    await fetch(`${things.url}/things`, { method: 'POST', headers, body: '{"name":"Moreau"}' });
    const requests = await until(() => {
      const found = lines.map(line => JSON.parse(line)).filter(({ msg }) => msg === 'request');
      return found.length >= 4 && found;
    });
    expect(requests).toHaveLength(4);
    expect(requests[0]).toMatchObject({
      level: 'info',
      method: 'GET',
      route: '/things',
      status: 200,
      requestId: 'mine',
      ms: expect.any(Number),
    });
    expect(requests[1]).toMatchObject({ route: '/things/:id', status: 404 });
    expect(requests[2]).toMatchObject({ route: null, status: 404 });
    expect(requests[3]).toMatchObject({ method: 'POST', route: '/things', status: 401 });
    for (const secret of ['Moreau', 'abc.def.ghi', '203.0.113.7', '000-00000000abcd'])
      expect(JSON.stringify(requests)).not.toContain(secret);
  });

  it('names who asked, and shouts when something broke', async () => {
    const lines: string[] = [];
    const things = await startThings({}, { log: { to: { write: line => void lines.push(line) } } });
    const user = { id: '0198c0de-0000-7000-8000-0000000000aa' };
    await fetch(`${things.url}/things/mine`, { headers: bearer(things.broker, 'EMPLOYEE', user) });
    await until(() => lines.map(line => JSON.parse(line)).find(({ userId }) => userId === user.id));
    await fetch(`${things.url}/things/fail/x`, { headers: { 'X-Request-Id': 'broken' } });
    const shout = await until(() => lines.map(line => JSON.parse(line)).find(({ level }) => level === 'error'));
    expect(shout).toMatchObject({
      requestId: 'broken',
      route: 'GET /things/fail/:how',
      err: { message: expect.stringContaining('hunter2') },
    });
  });

  it('says that a client went before its answer came', async () => {
    const lines: string[] = [];
    const things = await startThings({}, { log: { to: { write: line => void lines.push(line) } } });
    const client = rawConnection(things.url);
    client.send('GET /things/wait HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => things.gate.waiting === 1);
    client.socket.destroy();
    const line = await until(() => lines.map(each => JSON.parse(each)).find(({ msg }) => msg === 'request'));
    expect(line).toMatchObject({ route: '/things/wait', status: null, aborted: true });
  });
});
