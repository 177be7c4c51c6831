import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../helpers/client';
import { bearer } from '../helpers/http';
import { describeMeshOverKafka, type Mesh, startMesh } from '../helpers/mesh';
import { type SignedIn, signUp, unique, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';

const file = (name: string) => readFileSync(`${__dirname}/../data/${name}`);
const person = () => ({ firstName: 'Emil', lastName: 'Employee', email: uniqueEmail('person'), role: 'EMPLOYEE' });

describeMeshOverKafka('a gateway', connection => {
  let mesh: Mesh;
  let http: Client;
  let admin: SignedIn;
  let client: Client;
  let largest = 0;

  beforeAll(async () => {
    mesh = await startMesh(connection);
    for (const { broker } of [mesh.users, mesh.others, mesh.gateway]) {
      const { tx } = broker.transit!;
      const send = tx.send.bind(tx);
      tx.send = (topic: string, data: Buffer, meta: never) => {
        largest = Math.max(largest, data.length);
        return send(topic, data, meta);
      };
    }
    http = new Client(mesh.url);
    admin = await signUp(http);
    client = new Client(mesh.gateway.url, admin.accessToken);
  });

  /** The first person of a company, straight at the gateway. */
  const newcomer = async () => new Client(mesh.gateway.url, (await signUp(http)).accessToken);

  const refused = (answer: { status: number; headers: Headers; body: any }, status: number, code: string) => {
    expect({ status: answer.status, code: answer.body?.code }).toEqual({ status, code });
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body.requestId).toBe(answer.headers.get('x-request-id'));
  };

  describe('carries requests', () => {
    it('reads one thing and lists many, with their headers', async () => {
      const me = await client.get('/users/me', { headers: { 'X-Request-Id': 'through-the-mesh' } });
      expect(me).toMatchObject({ status: 200, body: { id: admin.user.id, email: admin.email } });
      expect(me.headers.get('etag')).toBe(`"${me.body.version}"`);
      expect(me.headers.get('x-request-id')).toBe('through-the-mesh');
      expect((await client.get('/users?pageSize=1')).body).toMatchObject({ total: 1, page: 1, pageSize: 1 });
      expect(me.body).toEqual((await new Client(mesh.users.url, admin.accessToken).get('/users/me')).body);
    });

    it('makes a thing once for one Idempotency-Key', async () => {
      const headers = { 'Idempotency-Key': randomUUID() };
      const body = person();
      const first = await client.post('/users', body, { headers });
      expect(first.status).toBe(201);
      expect(first.headers.get('location')).toBe(`/users/${first.body.id}`);
      expect(first.headers.get('idempotency-replayed')).toBeNull();
      const again = await client.post('/users', body, { headers });
      expect({ status: again.status, body: again.body }).toEqual({ status: 201, body: first.body });
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      refused(await client.post('/users', person(), { headers }), 422, 'IDEMPOTENCY_KEY_REUSED');
      refused(await client.post('/users', body), 409, 'USERS_EMAIL_TAKEN');
    });

    it('changes what was read, and refuses what was read too long ago', async () => {
      const { body, headers } = await client.post('/teams', { name: unique('Team') });
      const ifMatch = { headers: { 'If-Match': headers.get('etag') ?? '' } };
      const renamed = await client.patch(`/teams/${body.id}`, { name: unique('Team') }, ifMatch);
      expect(renamed.status).toBe(200);
      expect(renamed.headers.get('etag')).not.toBe(headers.get('etag'));
      refused(await client.patch(`/teams/${body.id}`, { name: unique('Team') }, ifMatch), 412, 'VERSION_MISMATCH');
    });

    it('tells HEAD what it tells GET, and OPTIONS what there is', async () => {
      const get = await client.get('/users/me');
      const authorization = `Bearer ${admin.accessToken}`;
      const head = await fetch(`${mesh.gateway.url}/users/me`, { method: 'HEAD', headers: { authorization } });
      expect({ status: head.status, body: await head.text() }).toEqual({ status: 200, body: '' });
      for (const name of ['etag', 'content-length', 'content-type'])
        expect(head.headers.get(name), name).toBe(get.headers.get(name));
      const options = await client.send('OPTIONS', `/users/${randomUUID()}`);
      expect(options.status).toBe(204);
      expect(options.headers.get('allow')).toBe('GET, PATCH, HEAD, OPTIONS');
    });

    it('answers for itself', async () => {
      expect(await client.get('/health/live')).toMatchObject({ status: 200, body: { status: 'ok' } });
      expect(await client.get('/health/ready')).toMatchObject({ status: 200, body: { status: 'ok', databases: {} } });
      const { body } = await client.get('/openapi.json');
      expect(body).toEqual(JSON.parse(readFileSync(`${__dirname}/../../openapi.json`, 'utf8')));
      expect((await fetch(`${mesh.gateway.url}/docs`)).status).toBe(200);
    });
  });

  describe('refuses', () => {
    it('who is nobody, and who may not', async () => {
      for (const token of [undefined, 'x', 'a.b.c', `${admin.accessToken}x`]) {
        refused(await new Client(mesh.gateway.url, token).post('/users', '{'), 401, 'UNAUTHENTICATED');
      }
      const { Authorization = '' } = bearer(mesh.users.broker, 'EMPLOYEE');
      refused(await new Client(mesh.gateway.url, Authorization.slice(7)).post('/users', person()), 403, 'FORBIDDEN');
    });

    it('a session that has ended, of which only the owner knows', async () => {
      const other = await signUp(http);
      const through = new Client(mesh.gateway.url, other.accessToken);
      expect((await through.get('/users/me')).status).toBe(200);
      expect((await other.client.post('/auth/logout')).status).toBe(204);
      const answer = await until(async () => {
        const refusal = await through.get('/users/me');
        return refusal.status !== 200 && refusal;
      });
      refused(answer, 401, 'UNAUTHENTICATED');
      expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    });

    it('what there is not, and what does not belong to the caller', async () => {
      refused(await client.get('/nothing'), 404, 'NOT_FOUND');
      refused(await client.get(`/users/${randomUUID()}`), 404, 'USERS_NOT_FOUND');
      refused(await client.get('/users/no-uuid'), 404, 'NOT_FOUND');
      const other = await signUp(http);
      refused(await client.get(`/users/${other.user.id}`), 404, 'USERS_NOT_FOUND');
      const wrong = await client.send('PUT', '/users/me');
      refused(wrong, 405, 'METHOD_NOT_ALLOWED');
      expect(wrong.headers.get('allow')).toBe('GET, PATCH, HEAD, OPTIONS');
    });

    it('bodies that are not as they should be', async () => {
      const headers = { 'content-type': 'text/plain' };
      refused(await client.post('/teams', { name: 'x' }, { headers }), 415, 'UNSUPPORTED_MEDIA_TYPE');
      refused(await client.post('/teams', { name: 'x'.repeat(1_000_001) }), 413, 'BODY_TOO_LARGE');
      const answer = await client.post('/users', { ...person(), email: 'nobody', nickname: 'x' });
      refused(answer, 422, 'VALIDATION_FAILED');
      expect(answer.body.errors.map(({ field }: { field: string }) => field).sort()).toEqual(['email', 'nickname']);
      expect(answer.body).toEqual({
        ...(await new Client(mesh.users.url, admin.accessToken).post('/users', { ...person(), email: 'nobody', nickname: 'x' }))
          .body,
        requestId: answer.body.requestId,
      });
    });

    it('passwords, which do not travel between nodes', async () => {
      const before = await client.post('/auth/login', { email: admin.email, password: 'x' });
      refused(before, 404, 'NOT_FOUND');
      refused(await client.get('/.well-known/jwks.json'), 404, 'NOT_FOUND');
      refused(await client.post('/auth/sign-up', {}), 404, 'NOT_FOUND');
      expect((await http.get('/.well-known/jwks.json')).body.keys).toHaveLength(1);
    });
  });

  describe('carries what is larger than a packet', () => {
    it('a file of 500 people: tried, then imported once for one Idempotency-Key', async () => {
      const own = await newcomer();
      const csv = file('people-excel-fr.csv');
      const dry = await own.csv('/users/import?dryRun=true', csv);
      expect(dry).toMatchObject({ status: 200, body: { valid: 500 } });
      expect((await own.get('/users')).body.total).toBe(1);
      const headers = { 'Idempotency-Key': randomUUID() };
      const first = await own.csv('/users/import', csv, { headers });
      expect(first).toMatchObject({ status: 201, body: { imported: 500, teamsCreated: 13 } });
      const again = await own.csv('/users/import', csv, { headers });
      expect(again).toMatchObject({ status: 201, body: first.body });
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      refused(await own.csv('/users/import', file('people.csv'), { headers }), 422, 'IDEMPOTENCY_KEY_REUSED');
      expect((await own.get('/users')).body.total).toBe(501);
    });

    it('a file of 5 MB, and not one byte more', async () => {
      const own = await newcomer();
      const rows = Array.from({ length: 9_000 }, (_, n) => `Camille,Moreau,${unique('csv')}@example.com,${'é'.repeat(80)} ${n}`);
      const text = `firstName,lastName,email,team\n${rows.join('\n')}\n`;
      const full = Buffer.concat([Buffer.from(text), Buffer.alloc(4_900_000 - Buffer.byteLength(text), '\n')]);
      const dry = await own.csv('/users/import?dryRun=true', full);
      // The answer names every team: it is larger than a packet, too.
      expect({ status: dry.status, ...dry.body, teamsToCreate: dry.body.teamsToCreate?.length }).toEqual({
        status: 200,
        valid: 9_000,
        teamsToCreate: 9_000,
      });
      expect(dry.body.teamsToCreate[8_999]).toBe(`${'é'.repeat(80)} 8999`);
      refused(await own.csv('/users/import', Buffer.alloc(5_000_001, '\n')), 413, 'BODY_TOO_LARGE');
    });

    it('bytes as they are: a file that is not UTF-8 is refused at its first wrong byte', async () => {
      const answer = await client.csv('/users/import', file('people-latin1.csv'));
      refused(answer, 422, 'IMPORT_NOT_UTF8');
      expect(answer.body.byteOffset).toBe(27);
      const broken = await client.csv('/users/import', file('people-broken.csv'));
      expect(broken.body).toMatchObject({ code: 'IMPORT_INVALID', errorCount: 9 });
      refused(await client.csv('/users/import', file('people-empty.csv')), 422, 'IMPORT_NO_HEADER');
    });

    it('JSON of nearly 1 MB, and a refusal with a bounded list of errors', async () => {
      const unknown = Object.fromEntries(Array.from({ length: 60_000 }, (_, n) => [`field${n}`, 1]));
      const answer = await client.post('/users', { ...person(), ...unknown });
      refused(answer, 422, 'VALIDATION_FAILED');
      expect(answer.body.errors).toHaveLength(100);
      const long = await client.post('/teams', { name: 'é'.repeat(450_000) });
      refused(long, 422, 'VALIDATION_FAILED');
      expect(long.body.errors[0].field).toBe('name');
    });
  });

  describe('tells other nodes', () => {
    it('nothing in packets that Kafka would refuse', () => {
      expect(largest).toBeGreaterThan(200_000);
      expect(largest).toBeLessThan(500_000);
    });

    it('what its actions are, but no secret of its own', () => {
      const { config, broker } = mesh.users;
      const told = JSON.stringify(broker.registry.getLocalNodeInfo(true));
      expect(told).toContain('"rest":"POST /import"');
      expect(told).not.toMatch(/postgres:|PRIVATE KEY|password":"/);
      for (const { key } of config.sealKeys) expect(told).not.toContain(key.toString('base64url'));
      expect(told).not.toContain(config.dataDir);
      expect(told.length).toBeLessThan(100_000);
    });
  });

  describe('while a service is away', () => {
    it('says 503 with Retry-After, still refuses what is wrong, and goes on when it is back', async () => {
      const through = await newcomer();
      await mesh.users.stop();
      const answer = await until(async () => {
        const gone = await through.get('/users/me');
        return gone.status !== 200 && gone;
      });
      refused(answer, 503, 'UNAVAILABLE');
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      refused(await through.csv('/users/import', file('people.csv')), 503, 'UNAVAILABLE');
      refused(await through.get('/nothing'), 404, 'NOT_FOUND');
      refused(await through.send('PUT', '/users/me'), 405, 'METHOD_NOT_ALLOWED');
      refused(await new Client(mesh.gateway.url).get('/users/me'), 401, 'UNAUTHENTICATED');
      refused(await through.csv('/teams', 'x'), 415, 'UNSUPPORTED_MEDIA_TYPE');
      expect((await through.get('/health/ready')).status).toBe(200);
      await mesh.restart('users');
      await until(async () => (await through.get('/users/me')).status === 200);
    });
  });
});
