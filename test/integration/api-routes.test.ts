import { randomUUID } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KNOWN_ID, startThings, type Things } from '../helpers/api';
import { bearer, expectProblem, fieldsOf, json } from '../helpers/http';

let things: Things;
let admin: Record<string, string>;

beforeAll(async () => {
  things = await startThings({ corsOrigins: ['https://app.example.com/'], trustedProxies: ['127.0.0.1', '10.0.0.0/8'] });
  admin = bearer(things.broker, 'ADMIN');
});

beforeEach(() => {
  things.seen.calls = 0;
});

const get = (path: string, init: RequestInit = {}) => fetch(things.url + path, init);

describe('routes', () => {
  it('answers what the action gives, with what its HTTP facts promise', async () => {
    const created = await get('/things', json({ name: 'lamp' }, { headers: admin }));
    expect(created.status).toBe(201);
    expect(created.headers.get('location')).toBe(`/things/${KNOWN_ID}`);
    expect(created.headers.get('content-type')).toBe('application/json');
    expect(await created.json()).toEqual({ id: KNOWN_ID, name: 'lamp', version: 3 });
    const removed = await get(`/things/${KNOWN_ID}`, { method: 'DELETE', headers: admin });
    expect([removed.status, await removed.text(), removed.headers.get('content-type')]).toEqual([204, '', null]);
  });

  it('prefers a fixed path to a parameter, and takes a trailing slash', async () => {
    expect((await get('/things/mine', { headers: admin })).status).toBe(200);
    expect((await get(`/things/${KNOWN_ID}/`)).status).toBe(200);
    expect((await get('/things/?search=lamp')).status).toBe(200);
    expect((await get('/things/?x', { method: 'OPTIONS' })).status).toBe(204);
  });

  it.each(['/nothing', '/', '//things', '/things/a/b', '/thingsX', '/Things', '/things//', '/things/%ff', '/*'])(
    'says 404 for %s',
    async path => {
      await expectProblem(await get(path), 404, 'NOT_FOUND');
      await expectProblem(await get(path, { method: 'POST' }), 404, 'NOT_FOUND');
      await expectProblem(await get(path, { method: 'OPTIONS' }), 404, 'NOT_FOUND');
      expect((await get(path, { method: 'HEAD' })).status).toBe(404);
    },
  );

  it.each([
    '/~node/options',
    '/$node/options',
    '/$node/list',
    '/api/list-aliases',
    '/list-aliases',
    '/api/rest',
    '/api/addRoute',
    '/things.list',
    '/things/list',
    '/things/secret',
    '/things.secret',
  ])('keeps what is not published to itself: %s', async path => {
    const methods = ['GET', 'POST'];
    for (const method of methods) expect((await get(path, { method })).status).toBeOneOf([404, 405]);
    expect(things.seen.calls).toBe(0);
  });

  it('says 405 and what is allowed where the path is known', async () => {
    const put = await get('/things', { method: 'PUT' });
    expect(put.headers.get('allow')).toBe('GET, POST, HEAD, OPTIONS');
    await expectProblem(put, 405, 'METHOD_NOT_ALLOWED');
    const post = await get(`/things/${KNOWN_ID}?x=1`, json({}));
    expect(post.headers.get('allow')).toBe('GET, PATCH, DELETE, HEAD, OPTIONS');
    const head = await get('/things/touch', { method: 'HEAD' });
    expect([head.status, head.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
  });

  it('answers HEAD as GET without its body', async () => {
    const [head, whole] = await Promise.all([get(`/things/${KNOWN_ID}`, { method: 'HEAD' }), get(`/things/${KNOWN_ID}`)]);
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
    // undici closes connections after HEAD.
    const ignored = ['date', 'x-request-id', 'connection', 'keep-alive'];
    const headersOf = (response: Response) => [...response.headers].filter(([name]) => !ignored.includes(name));
    expect(headersOf(head)).toEqual(headersOf(whole));
    expect(head.headers.get('content-length')).toBe(String((await whole.text()).length));
  });

  it('answers OPTIONS without calling anything', async () => {
    const response = await get('/things', { method: 'OPTIONS', headers: { 'Access-Control-Request-Method': 'POST' } });
    expect([response.status, await response.text()]).toEqual([204, '']);
    expect(response.headers.get('allow')).toBe('GET, POST, HEAD, OPTIONS');
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(things.seen.calls).toBe(0);
  });

  it('serves a service that comes later at once, and forgets one that goes', async () => {
    const [schema] = things.broker.services.filter(({ name }) => name === 'things').map(({ originalSchema }) => originalSchema);
    const later = things.broker.createService({ ...schema, name: 'later' } as never);
    await things.broker.waitForServices('later');
    expect((await get('/later')).status).toBe(200);
    await things.broker.destroyService(later);
    await expectProblem(await get('/later'), 404, 'NOT_FOUND');
  });
});

describe('who may call', () => {
  it('says 401 before it looks at anything else', async () => {
    const bodies: RequestInit[] = [{ method: 'POST' }, json({}), { ...json({}), body: '{' }, { method: 'POST', body: 'x' }];
    for (const init of bodies) {
      const response = await get('/things', init);
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      await expectProblem(response, 401, 'UNAUTHENTICATED');
    }
    await expectProblem(await get('/things/no-uuid', json({ x: 1 }, { method: 'PATCH' })), 401, 'UNAUTHENTICATED');
  });

  it.each(['Bearer', 'Bearer x', 'Bearer a.b.c', 'Basic YTpi', 'x', `Bearer ${'a'.repeat(5_000)}`])(
    'says 401 to "%s"',
    async Authorization => {
      const response = await get('/things/mine', { headers: { Authorization } });
      expect(response.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
      await expectProblem(response, 401, 'UNAUTHENTICATED');
    },
  );

  it('says 403 to the wrong role before it looks at the body', async () => {
    const headers = bearer(things.broker, 'EMPLOYEE');
    for (const init of [json({ name: 'lamp' }), { ...json({}), body: '{' }, json({ x: 1 })]) {
      await expectProblem(await get('/things', { ...init, headers: { ...init.headers, ...headers } }), 403, 'FORBIDDEN');
    }
    expect(things.seen.calls).toBe(0);
    expect((await get('/things', json({ name: 'lamp' }, { headers: bearer(things.broker, 'MANAGER') }))).status).toBe(201);
  });

  it('tells the action who is calling, by the token alone', async () => {
    const user = { id: randomUUID(), companyId: randomUUID(), sessionId: randomUUID() };
    const headers = { ...bearer(things.broker, 'EMPLOYEE', user), 'X-User': 'x', user: 'x' };
    expect((await get('/things/mine', { headers })).status).toBe(200);
    expect(things.seen.meta?.user).toEqual({ ...user, role: 'EMPLOYEE' });
  });

  it('does not look at tokens where anybody may call', async () => {
    expect((await get('/things', { headers: { Authorization: 'Bearer x' } })).status).toBe(200);
    expect(things.seen.meta).not.toHaveProperty('token');
    expect(things.seen.meta).not.toHaveProperty('user');
  });
});

describe('headers', () => {
  it('takes a safe X-Request-Id, answers it and hands it on', async () => {
    const given = `A-z_0.9${'x'.repeat(57)}`;
    const response = await get('/things', { headers: { 'X-Request-Id': given } });
    expect(response.headers.get('x-request-id')).toBe(given);
    expect(things.seen.requestId).toBe(given);
  });

  it.each(['a b', 'é', 'x'.repeat(65), '<script>', 'a,b', ''])('makes a request id of its own instead of "%s"', async given => {
    const response = await get('/things', { headers: { 'X-Request-Id': given, 'X-Correlation-Id': 'theirs' } });
    const made = response.headers.get('x-request-id');
    expect(made).toMatch(/^[0-9a-f-]{36}$/);
    expect(things.seen.requestId).toBe(made);
  });

  it.each(['/things', '/nothing', '/things/mine', '/health/live', '/openapi.json', '/things/fail/x'])(
    'forbids framing, sniffing, embedding and keeping: %s',
    async path => {
      const { headers } = await get(path);
      expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
      expect(headers.get('cache-control')).toMatch(/^no-(store|cache)$/);
      expect(headers.has('x-powered-by') || headers.has('server')).toBe(false);
    },
  );

  it('asks for https only where a trusted proxy received it', async () => {
    expect((await get('/things')).headers.has('strict-transport-security')).toBe(false);
    for (const path of ['/things', '/nothing', '/docs']) {
      const secure = await get(path, { headers: { 'X-Forwarded-Proto': 'https' } });
      expect(secure.headers.get('strict-transport-security')).toBe('max-age=31536000');
    }
    const direct = await startThings();
    const claimed = await fetch(`${direct.url}/things`, { headers: { 'X-Forwarded-Proto': 'https' } });
    expect(claimed.headers.has('strict-transport-security')).toBe(false);
  });

  it('answers the version as ETag, and looks at If-Match', async () => {
    const patch = (ifMatch?: string) =>
      get(`/things/${KNOWN_ID}`, json({}, { method: 'PATCH', headers: { ...admin, ...(ifMatch && { 'If-Match': ifMatch }) } }));
    expect((await get(`/things/${KNOWN_ID}`)).headers.get('etag')).toBe('"3"');
    for (const fresh of [undefined, '"3"', '*']) expect((await patch(fresh)).headers.get('etag')).toBe('"4"');
    for (const stale of ['"2"', 'W/"3"', '3', '"03"', '"x"', '"3", "4"']) {
      await expectProblem(await patch(stale), 412, 'VERSION_MISMATCH');
    }
  });

  it('says 404 and 422 before 412', async () => {
    const stale = { ...admin, 'If-Match': 'W/"1"' };
    await expectProblem(
      await get(`/things/${randomUUID()}`, json({}, { method: 'PATCH', headers: stale })),
      404,
      'THINGS_NOT_FOUND',
    );
    await expectProblem(
      await get(`/things/${KNOWN_ID}`, json({ x: 1 }, { method: 'PATCH', headers: stale })),
      422,
      'VALIDATION_FAILED',
    );
  });

  it.each([
    ['abc', 'abc'],
    ['"abc"', 'abc'],
    ['"a \\"b\\" c"', 'a "b" c'],
    ['x'.repeat(255), 'x'.repeat(255)],
  ])('reads the Idempotency-Key %s', async (given, key) => {
    const response = await get('/things', json({ name: 'lamp' }, { headers: { ...admin, 'Idempotency-Key': given } }));
    expect(response.status).toBe(201);
    expect(things.seen.meta?.idempotencyKey).toBe(key);
  });

  it.each(['""', '"abc', 'a b', 'x'.repeat(256), `"${'x'.repeat(256)}"`, ''])('refuses the Idempotency-Key %s', async given => {
    const response = await get('/things', json({ name: 'lamp' }, { headers: { ...admin, 'Idempotency-Key': given } }));
    await expectProblem(response, 422, 'IDEMPOTENCY_KEY_INVALID');
    expect(things.seen.calls).toBe(0);
  });

  it('looks at Idempotency-Key for POSTs of signed-in people only', async () => {
    await get('/things/touch', { method: 'POST', headers: { 'Idempotency-Key': 'a b' } });
    await get(`/things/${KNOWN_ID}`, json({}, { method: 'PATCH', headers: { ...admin, 'Idempotency-Key': 'abc' } }));
    expect(things.seen.calls).toBe(2);
    expect(things.seen.meta).not.toHaveProperty('idempotencyKey');
  });
});

describe('CORS', () => {
  const preflight = (Origin: string, path = '/things') =>
    get(path, { method: 'OPTIONS', headers: { Origin, 'Access-Control-Request-Method': 'POST' } });

  it('lets a known origin in, and read what it needs', async () => {
    const { status, headers } = await preflight('https://app.example.com');
    expect(status).toBe(204);
    expect(headers.get('access-control-allow-origin')).toBe('https://app.example.com');
    expect(headers.get('access-control-allow-methods')).toContain('POST');
    expect(headers.get('access-control-allow-headers')).toContain('Idempotency-Key');
    const answer = await get('/nothing', { headers: { Origin: 'https://app.example.com' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.example.com');
    for (const name of ['ETag', 'Location', 'Retry-After', 'X-Request-Id', 'Idempotency-Replayed']) {
      expect(answer.headers.get('access-control-expose-headers')).toContain(name);
    }
  });

  it.each([
    'https://app.example.com.evil.test',
    'https://evil.test',
    'http://app.example.com',
    'https://app.example.co',
    'null',
    'https',
  ])('lets %s read nothing', async origin => {
    for (const { headers } of [await preflight(origin), await get('/things', { headers: { Origin: origin } })]) {
      expect(headers.get('vary')).toBe('Origin');
      expect([...headers.keys()].filter(name => name.startsWith('access-control'))).toEqual([]);
    }
  });
});

describe('the client address', () => {
  it.each([
    [undefined, '127.0.0.1'],
    ['203.0.113.7', '203.0.113.7'],
    ['6.6.6.6, 203.0.113.7', '203.0.113.7'],
    ['6.6.6.6, 203.0.113.7, 10.1.2.3', '203.0.113.7'],
    ['10.1.2.3', '10.1.2.3'],
    ['6.6.6.6, junk, 10.1.2.3', '10.1.2.3'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:ffff::1', '2001:db8:1:2::/64'],
  ])('behind trusted proxies, X-Forwarded-For %s means %s', async (forwarded, address) => {
    await get('/things', { headers: forwarded === undefined ? {} : { 'X-Forwarded-For': forwarded } });
    expect(things.seen.meta?.clientAddress).toBe(address);
  });

  it('is the peer where no proxy is trusted, whatever it says', async () => {
    const direct = await startThings();
    await fetch(`${direct.url}/things`, { headers: { 'X-Forwarded-For': '203.0.113.7' } });
    expect(direct.seen.meta?.clientAddress).toBe('127.0.0.1');
  });
});

describe('problems', () => {
  it('tells what a declared problem says', async () => {
    const problem = await expectProblem(await get('/things/fail/conflict'), 409, 'THINGS_BROKEN');
    expect(problem).toMatchObject({ title: 'That thing is broken.', detail: 'It fell.', pieces: 2 });
  });

  it.each([
    ['unavailable', 503, 'UNAVAILABLE'],
    ['moleculer', 503, 'UNAVAILABLE'],
    ['x', 500, 'INTERNAL_ERROR'],
    ['code', 500, 'INTERNAL_ERROR'],
  ])('says nothing of the inside when a handler fails: %s', async (how, status, code) => {
    const response = await get(`/things/fail/${how}`);
    const text = await response.clone().text();
    await expectProblem(response, status, code);
    for (const inside of ['hunter2', 'secret', 'postgres', 'stack', 'timed out']) expect(text).not.toContain(inside);
    expect(response.headers.get('retry-after')).toBe(status === 503 ? '1' : null);
  });

  it('says when to come back', async () => {
    const response = await get('/things/fail/throttled');
    expect(response.headers.get('retry-after')).toBe('7');
    await expectProblem(response, 429, 'TOO_MANY_REQUESTS');
  });

  it('says 404 for an id in the path that cannot be one, 422 when more is wrong', async () => {
    await expectProblem(await get('/things/no-uuid'), 404, 'NOT_FOUND');
    const problem = await expectProblem(await get('/things/no-uuid?verbose=perhaps'), 422, 'VALIDATION_FAILED');
    expect(fieldsOf(problem)).toContain('verbose');
    await expectProblem(await get(`/things/${randomUUID()}`), 404, 'THINGS_NOT_FOUND');
  });
});

describe('GET /health', () => {
  it('says that the process lives and is ready', async () => {
    expect(await (await get('/health/live')).json()).toEqual({ status: 'ok' });
    expect(await (await get('/health/ready')).json()).toEqual({ status: 'ok', databases: {} });
  });
});
