import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type KongConfig, readKong } from '../../scripts/kong/config';
import { type RunningProxy, startProxy } from '../../scripts/proxy';
import { expectProblem, json, rawConnection } from '../helpers/http';
import { occupyPort } from '../helpers/processes';
import { until } from '../helpers/until';

const kong = readKong('kong.yml');
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Node {
  url: string;
  server: Server;
  requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[];
}

/** A node that keeps what it was asked and says which one it is, or does as it is told. */
async function node(name = 'node', listener?: RequestListener): Promise<Node> {
  const requests: Node['requests'] = [];
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    requests.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, body });
    if (listener) return listener(req, res);
    res.setHeader('Server', 'secret/1.0');
    res.setHeader('X-Powered-By', 'secret');
    res.setHeader('X-Request-Id', String(req.headers['x-request-id']));
    res.end(name);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, requests };
}

/** An address at which nobody listens. */
async function nobody(): Promise<string> {
  const { port, close } = await occupyPort();
  close();
  return `http://127.0.0.1:${port}`;
}

async function front(targets: Record<string, string[]>, config: KongConfig = kong): Promise<RunningProxy> {
  const proxy = await startProxy({ config, targets, port: 0 });
  closing.push(() => proxy.close());
  return proxy;
}

const textOf = async (url: string, init?: RequestInit) => (await fetch(url, init)).text();

describe('routes', () => {
  it('lead to the node of the domain with path and query as they came', async () => {
    const [users, tasks] = [await node('users'), await node('tasks')];
    const { url } = await front({ users: [users.url], tasks: [tasks.url] });
    expect(await textOf(`${url}/users/me?fields=a%2Cb&x=1`)).toBe('users');
    expect(await textOf(`${url}/tasks`)).toBe('tasks');
    expect(users.requests[0]?.url).toBe('/users/me?fields=a%2Cb&x=1');
  });

  it('lead nowhere else', async () => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    await expectProblem(await fetch(`${url}/health/live`), 404, 'NOT_FOUND');
    await expectProblem(await fetch(`${url}/usersX`), 404, 'NOT_FOUND');
    const raw = rawConnection(url);
    raw.send('GET /users/../health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await raw.receives('404 Not Found');
    expect(users.requests).toEqual([]);
  });

  it('are found in a request line that holds a whole URL', async () => {
    const users = await node('users');
    const { url } = await front({ users: [users.url] });
    const raw = rawConnection(url);
    raw.send('GET http://evil.example/users//me?a=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');
    await raw.receives('200 OK');
    expect(users.requests[0]?.url).toBe('/users/me?a=1');
  });
});

describe('what a request says of itself', () => {
  it('is replaced where it would say who asks, and kept elsewhere', async () => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    const raw = rawConnection(url);
    raw.send(
      'GET /users HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n' +
        'X-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: /evil\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n' +
        'Authorization: Bearer abc\r\nX-Request-Id: mine-1\r\nConnection: close\r\n\r\n',
    );
    await raw.receives('200 OK');
    const { headers } = users.requests[0] ?? {};
    expect(headers).toMatchObject({
      host: new URL(users.url).host,
      'x-forwarded-for': '127.0.0.1',
      'x-real-ip': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-port': new URL(url).port,
      authorization: 'Bearer abc',
      'x-request-id': 'mine-1',
    });
    expect(headers).not.toHaveProperty('forwarded');
    expect(headers).not.toHaveProperty('x-forwarded-prefix');
    expect(raw.received()).toMatch(/x-request-id: mine-1/i);
  });

  it.each(['x'.repeat(65), 'a b', '<script>'])('gets an id of its own instead of %s', async forged => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    const response = await fetch(`${url}/users`, { headers: { 'X-Request-Id': forged } });
    const id = response.headers.get('x-request-id');
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(users.requests[0]?.headers['x-request-id']).toBe(id);
  });
});

describe('answers', () => {
  it('show nothing of the node, and keep the connection', async () => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    const { headers } = await fetch(`${url}/users`);
    expect([...headers.keys()]).not.toEqual(expect.arrayContaining(['server']));
    expect(headers.has('x-powered-by')).toBe(false);
    expect(headers.get('connection')).toBe('keep-alive');
  });

  it('can be read by pages of listed origins, and by no others', async () => {
    const users = await node('users', (_req, res) => res.setHeader('Vary', 'Accept').end());
    const { url } = await front({ users: [users.url] });
    const listed = await fetch(`${url}/users`, { headers: { Origin: 'http://localhost:5173' } });
    expect(listed.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
    expect(listed.headers.get('access-control-expose-headers')).toContain('Idempotency-Replayed');
    expect(listed.headers.get('vary')).toBe('Origin, Accept');
    const other = await fetch(`${url}/users`, { headers: { Origin: 'http://localhost:5173.evil.example' } });
    expect(other.headers.has('access-control-allow-origin')).toBe(false);
  });

  it('to preflights come from the proxy', async () => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    const headers = { Origin: 'http://localhost:5173', 'Access-Control-Request-Method': 'PATCH' };
    const preflight = await fetch(`${url}/users/me`, { method: 'OPTIONS', headers });
    expect(preflight.status).toBe(200);
    expect(preflight.headers.get('access-control-allow-methods')).toContain('PATCH');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('Idempotency-Key');
    expect(users.requests).toEqual([]);
    await fetch(`${url}/users/me`, { method: 'OPTIONS' });
    expect(users.requests).toHaveLength(1);
  });

  it('stream: the first event arrives before the second one is made', async () => {
    let push = (_text: string): void => undefined;
    const stream = await node('notifications', (_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.flushHeaders();
      push = text => void res.write(text);
    });
    const { url } = await front({ notifications: [stream.url] });
    const response = await fetch(`${url}/notifications/stream`);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const reader = response.body?.getReader();
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      push(event);
      expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(event);
    }
    await reader?.cancel();
    await until(() => new Promise(resolve => stream.server.getConnections((_error, count) => resolve(count === 0))));
  });

  it('that break off break off for the client, too', async () => {
    const users = await node('users', (_req, res) => {
      res.writeHead(200, { 'Content-Length': '100' });
      res.write('some', () => res.destroy());
    });
    const { url } = await front({ users: [users.url] });
    const response = await fetch(`${url}/users`);
    await expect(response.text()).rejects.toThrow();
  });
});

describe('bodies', () => {
  it('arrive whole, chunked ones too', async () => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    await fetch(`${url}/users`, json({ name: 'Zoë' }));
    const chunks = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from('ab'));
        controller.enqueue(Buffer.from('cd'));
        controller.close();
      },
    });
    await fetch(`${url}/users`, { method: 'POST', body: chunks, duplex: 'half' } as RequestInit);
    expect(users.requests.map(({ body }) => body)).toEqual(['{"name":"Zoë"}', 'abcd']);
  });

  it('are refused over 1 MB, of an import over 5 MB, before a node sees them', async () => {
    const users = await node();
    const { url } = await front({ users: [users.url] });
    const post = (path: string, size: number) => fetch(`${url}${path}`, { method: 'POST', body: 'x'.repeat(size) });
    expect((await post('/users', 1_000_000)).status).toBe(200);
    await expectProblem(await post('/users', 1_000_001), 413, 'BODY_TOO_LARGE');
    expect((await post('/users/import', 5_000_000)).status).toBe(200);
    await expectProblem(await post('/users/import', 5_000_001), 413, 'BODY_TOO_LARGE');
    const raw = rawConnection(url);
    raw.send('POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let at = 0; at < 11; at++) raw.send(`${(100_000).toString(16)}\r\n${'x'.repeat(100_000)}\r\n`);
    await raw.receives('413 Payload Too Large');
    expect(users.requests).toHaveLength(2);
  });
});

describe('several nodes of a domain', () => {
  it('are asked in turn', async () => {
    const nodes = [await node('a'), await node('b')];
    const { url } = await front({ presence: nodes.map(each => each.url) });
    const answers = [];
    for (let at = 0; at < 4; at++) answers.push(await textOf(`${url}/presence`));
    expect(answers).toEqual(['a', 'b', 'a', 'b']);
  });

  it.each(['GET', 'POST'])('replace one that cannot be reached, for %s, body included', async method => {
    const alive = await node('alive');
    const { url } = await front({ presence: [await nobody(), alive.url] });
    const init = { method, body: method === 'POST' ? 'x'.repeat(100_000) : undefined };
    for (let at = 0; at < 3; at++) expect(await textOf(`${url}/presence`, init)).toBe('alive');
    expect(alive.requests.map(({ body }) => body.length)).toEqual(method === 'POST' ? [100_000, 100_000, 100_000] : [0, 0, 0]);
  });

  it('take over a GET that one has broken off, never a POST that it may have done', async () => {
    const broken = await node('broken', req => req.socket.destroy());
    const alive = await node('alive');
    const { url } = await front({ presence: [broken.url, alive.url] });
    expect(await textOf(`${url}/presence`)).toBe('alive');
    await fetch(`${url}/presence`);
    await expectProblem(await fetch(`${url}/presence`, { method: 'POST' }), 502, 'PROXY_BAD_ANSWER');
    expect(alive.requests.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  it('all gone are 503 with Retry-After, and serve again when they are back', async () => {
    const { port, close } = await occupyPort();
    close();
    const { url } = await front({ presence: [`http://127.0.0.1:${port}`] });
    const refused = await fetch(`${url}/presence`);
    expect(refused.headers.get('retry-after')).toBe('1');
    await expectProblem(refused, 503, 'UNAVAILABLE');
    const server = createServer((_req, res) => void res.end('back'));
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
    closing.push(async () => server.close());
    expect(await textOf(`${url}/presence`)).toBe('back');
  });

  it('that do not answer in time are given up', async () => {
    const hanging = await node('hanging', () => undefined);
    const services = kong.services.map(service => ({ ...service, read_timeout: 200 }));
    const { url } = await front({ tasks: [hanging.url] }, { ...kong, services });
    await expectProblem(await fetch(`${url}/tasks`, { method: 'POST' }), 502, 'PROXY_BAD_ANSWER');
  });
});
