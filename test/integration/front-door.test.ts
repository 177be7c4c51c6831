import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { FAILURE_LIMITS } from '../../mixins/auth/throttle';
import { startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { entryUrl, KONG_URL, startFrontDoor } from '../helpers/entry';
import { rawConnection } from '../helpers/http';
import { PASSWORD, type SignedIn, signUp, unique, uniqueEmail } from '../helpers/people';

/**
 * The whole system as the outside meets it. Through a real Kong where `KONG_URL` names one, otherwise through the
 * development proxy, which follows the same file: only what both do is asked for.
 */
let url: string;
let admin: SignedIn;

beforeAll(async () => {
  url = await entryUrl(async () => {
    const app = await startApp({ trustedProxies: ['127.0.0.1'] });
    return (await startFrontDoor(app.url)).url;
  });
  admin = await signUp(new Client(url));
});

/** The answer to a request that `fetch` would not send. */
async function raw(head: string): Promise<string> {
  const connection = rawConnection(url);
  connection.send(`${head}\r\nConnection: close\r\n\r\n`);
  await connection.closed(10_000);
  return connection.received();
}

describe('the front door', () => {
  it('lets people in, and to what is theirs', async () => {
    const login = await new Client(url).post('/auth/login', { email: admin.email, password: PASSWORD, device: 'test' });
    expect(login.status).toBe(200);
    const me = await new Client(url, login.body.accessToken).get('/users/me');
    expect(me).toMatchObject({ status: 200, body: { id: admin.user.id } });
    expect(me.headers.get('etag')).toMatch(/^"\d+"$/);
    const created = await admin.client.post('/teams', { name: unique('Team') });
    expect(created.status).toBe(201);
    expect(created.headers.get('location')).toBe(`/teams/${created.body.id}`);
  });

  it('shows the whole description, whichever node gives it', async () => {
    const { body } = await new Client(url).get('/openapi.json');
    expect(Object.keys(body.paths)).toEqual(Object.keys(JSON.parse(readFileSync('openapi.json', 'utf8')).paths));
    expect((await fetch(`${url}/docs`)).headers.get('content-type')).toContain('text/html');
    expect((await fetch(`${url}/.well-known/jwks.json`)).status).toBe(200);
  });

  it.each(['/health/live', '/health/ready', '/metrics', '/usersX', '/~node/options', '/users/..%2f..%2fhealth/live'])(
    'has no way to %s',
    async path => expect((await fetch(url + path)).status).toBe(404),
  );

  it('tells nothing of what is behind', async () => {
    for (const path of ['/users/me', '/nowhere']) {
      const { headers } = await fetch(url + path);
      for (const name of ['server', 'via', 'x-powered-by', 'x-kong-upstream-latency', 'x-kong-proxy-latency']) {
        expect(headers.has(name), name).toBe(false);
      }
    }
  });

  it('gives every answer an id: the one that came, or another where that is none', async () => {
    const idOf = async (given: string, path = '/users/me') =>
      (await fetch(url + path, { headers: { 'X-Request-Id': given } })).headers.get('x-request-id');
    expect(await idOf('phone-7.a_b')).toBe('phone-7.a_b');
    expect(await idOf('x'.repeat(65))).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idOf('<script>')).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idOf('<script>', '/nowhere')).not.toContain('<');
  });

  it('says the same id in a problem and its header', async () => {
    const answer = await new Client(url).get('/users/me', { headers: { 'X-Request-Id': 'a b' } });
    expect(answer.status).toBe(401);
    expect(answer.body.requestId).toBe(answer.headers.get('x-request-id'));
  });

  it('takes a forged Host and X-Forwarded-Host for nothing', async () => {
    const answer = await raw('GET /users/me HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example');
    expect(answer).toMatch(/^HTTP\/1.1 401 /);
    expect(answer).not.toContain('evil.example');
  });

  it('takes a forged X-Forwarded-Proto for nothing', async () => {
    const { headers } = await fetch(`${url}/users/me`, { headers: { 'X-Forwarded-Proto': 'https' } });
    expect(headers.has('strict-transport-security')).toBe(url.startsWith('https'));
  });

  it('refuses bodies over 1 MB, and takes larger ones for the import', async () => {
    const body = 'x'.repeat(1_500_000);
    const post = (path: string) => admin.client.csv(path, body);
    expect((await post('/users')).status).toBe(413);
    expect((await post('/users/import')).status).toBe(422);
  });

  it('lets pages of listed origins only ask', async () => {
    const preflight = (origin: string) =>
      fetch(`${url}/users/me`, {
        method: 'OPTIONS',
        headers: { Origin: origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization' },
      });
    const evil = await preflight('https://evil.example');
    expect(evil.headers.get('access-control-allow-origin')).not.toBe('https://evil.example');
    expect(evil.headers.get('access-control-allow-origin')).not.toBe('*');
  });
});

// Last: it shuts out this address for a quarter of an hour.
describe.skipIf(KONG_URL)('the throttle of logins', () => {
  it('is not escaped by another X-Forwarded-For each time', async () => {
    const attempt = (at: number) =>
      fetch(`${url}/auth/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-Forwarded-For': `203.0.${at >> 8}.${at & 255}` },
        body: JSON.stringify({ email: uniqueEmail('nobody'), password: 'wrong password', device: 'test' }),
      });
    const statuses: number[] = [];
    for (let at = 0; at < 320 && statuses.at(-1) !== 429; at += 8) {
      const answers = await Promise.all(Array.from({ length: 8 }, (_, more) => attempt(at + more)));
      statuses.push(...answers.map(({ status }) => status).sort());
    }
    const failures = statuses.filter(status => status === 401).length;
    expect(failures).toBeLessThanOrEqual(FAILURE_LIMITS.address);
    expect(failures).toBeGreaterThan(FAILURE_LIMITS.address - 10);
    expect(statuses.at(-1)).toBe(429);
    // Who is signed in already goes on.
    expect((await admin.client.get('/users/me')).status).toBe(200);
  }, 120_000);
});
