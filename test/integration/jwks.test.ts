import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKey, toPem } from '../../mixins/auth/key-files';
import { toSigningKey } from '../../mixins/auth/keys';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { expectProblem } from '../helpers/http';
import { type SignedIn, signUp } from '../helpers/people';
import { until } from '../helpers/until';
import { whoAmIService } from '../helpers/who-am-i';

const [first, second, foreign] = [generateKey(), generateKey(), generateKey()];
const kidOf = (key: typeof first) => toSigningKey(key, 0).kid;

let port: number;
let users: App;
let admin: SignedIn;
let keysOfUsers: App['config']['jwt'];

beforeAll(async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await until(() => server.listening);
  ({ port } = server.address() as AddressInfo);
  await new Promise(resolve => server.close(resolve));
  keysOfUsers = { issuer: 'hiver', audience: 'hiver', privateKeys: toPem(first), jwksUrl: undefined };
  users = await startApp({ mode: 'mesh', services: ['users', 'api'], port, jwt: keysOfUsers });
  admin = await signUp(new Client(users.url));
});

const pools: pg.Pool[] = [];
afterAll(() => Promise.all(pools.map(pool => pool.end())));

/** A node of another domain, which has no keys of its own. */
function startPresence(config?: App['config']): Promise<App> {
  const jwksUrl = `http://127.0.0.1:${port}/.well-known/jwks.json`;
  const jwt = { issuer: 'hiver', audience: 'hiver', privateKeys: undefined, jwksUrl };
  return startApp({ mode: 'mesh', services: ['presence', 'api'], jwt, ...config }, { services: [whoAmIService] });
}

const ask = ({ url }: App, token: string) => fetch(`${url}/probe/who-am-i`, { headers: { authorization: `Bearer ${token}` } });

async function keptBy({ config }: App): Promise<string[]> {
  const pool = new pg.Pool({ connectionString: config.databaseUrls.presence, max: 1 });
  pools.push(pool);
  return (await pool.query<{ kid: string }>('select kid from public_keys order by kid')).rows.map(({ kid }) => kid);
}

/** The same claims, signed by somebody else. */
async function forge(token: string): Promise<string> {
  const { default: jwt } = await import('jsonwebtoken');
  return jwt.sign(jwt.decode(token) as object, foreign, { algorithm: 'ES256', keyid: kidOf(foreign) });
}

describe('a node without keys of its own', () => {
  it('verifies tokens by the keys of the users node, keeps them, and starts with them while users is down', async () => {
    const presence = await startPresence();
    const answer = await ask(presence, admin.accessToken);
    expect([answer.status, await answer.json()]).toEqual([200, { id: admin.user.id }]);
    await expectProblem(await ask(presence, await forge(admin.accessToken)), 401, 'UNAUTHENTICATED');
    await until(async () => (await keptBy(presence)).length === 1);
    expect(await keptBy(presence)).toEqual([kidOf(first)]);
    await presence.stop();

    await users.stop();
    const again = await startPresence(presence.config);
    expect((await ask(again, admin.accessToken)).status).toBe(200);
    await expectProblem(await ask(again, await forge(admin.accessToken)), 401, 'UNAUTHENTICATED');
    await expectProblem(await ask(again, 'hello'), 401, 'UNAUTHENTICATED');
    await again.stop();
  });

  it('says 503 when it starts for the first time while users is down, and heals by itself', async () => {
    const presence = await startPresence();
    const problem = await ask(presence, admin.accessToken);
    expect(problem.headers.get('retry-after')).toBe('2');
    await expectProblem(problem, 503, 'UNAVAILABLE');
    await expectProblem(await ask(presence, 'hello'), 401, 'UNAUTHENTICATED');
    expect(await keptBy(presence)).toEqual([]);

    users = await startApp(users.config);
    await until(async () => (await ask(presence, admin.accessToken)).status === 200, { timeout: 10_000 });
    await until(async () => (await keptBy(presence)).length === 1);
    await presence.stop();
  });

  it('follows a rotation: what users publishes is kept, and what it publishes no more is not', async () => {
    const rotate = async (...keys: (typeof first)[]) => {
      await users.stop();
      users = await startApp({ ...users.config, jwt: { ...keysOfUsers, privateKeys: keys.map(toPem).join('') } });
    };
    await rotate(first, second);
    const presence = await startPresence();
    await until(async () => (await keptBy(presence)).length === 2);
    await rotate(second, first);
    const later = await signUp(new Client(users.url));
    for (const { accessToken } of [admin, later]) expect((await ask(presence, accessToken)).status).toBe(200);
    await presence.stop();

    await rotate(second);
    const again = await startPresence(presence.config);
    await until(async () => (await keptBy(again)).join() === kidOf(second));
    expect((await ask(again, later.accessToken)).status).toBe(200);
    await expectProblem(await ask(again, admin.accessToken), 401, 'UNAUTHENTICATED');
  });
});
