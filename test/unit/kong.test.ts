import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DOMAINS, type Domain } from '../../mixins/config';
import { type KongConfig, parseKong, pluginConfig, readKong } from '../../scripts/kong/config';
import { toGateway, withJwt, withOrigins } from '../../scripts/kong/gateway';
import { KongRouter, normalizePath } from '../../scripts/kong/router';
import { servicesOf } from '../../services';

const kong = readKong('kong.yml');
const gateway = readKong('kong.gateway.yml');
const openapi = JSON.parse(readFileSync('openapi.json', 'utf8')) as {
  paths: Record<string, Record<string, { operationId: string }>>;
};

/** Domain of each Moleculer service. */
const ownerOf = new Map(DOMAINS.flatMap(domain => servicesOf([domain]).map(({ name }) => [name, domain] as const)));

interface Operation {
  path: string;
  service: string;
  action: string;
}

const operations: Operation[] = Object.entries(openapi.paths).flatMap(([path, methods]) =>
  Object.values(methods).map(({ operationId }) => {
    const [service = '', action = ''] = operationId.split('.');
    return { path: path.replaceAll(/\{\w+\}/g, '0198c0de-0000-7000-8000-000000000001'), service, action };
  }),
);
/** Health is each node's own: nobody outside could tell whose it is. */
const published = operations.filter(({ service }) => service !== 'api');

function upstreamOf(config: KongConfig, path: string): string | undefined {
  return new KongRouter(config).find(normalizePath(path))?.service.host;
}

describe('kong.yml', () => {
  it.each(published)('brings $path of $service by one route to the node that serves it', ({ path, service }) => {
    const winners = new KongRouter(kong).winners(path);
    expect(winners.map(({ route }) => route.name)).toHaveLength(1);
    // Every node serves the description.
    expect(winners[0]?.service.host).toBe(service === 'docs' ? 'users' : ownerOf.get(service));
  });

  it.each<[string, Domain]>([
    ['/audit', 'users'],
    ['/presence/check-ins', 'presence'],
    ['/leave-requests', 'leave-requests'],
    ['/tasks/1', 'tasks'],
    ['/notifications', 'notifications'],
    ['/notifications/stream', 'notifications'],
    ['/docs/swagger-ui.css', 'users'],
  ])('brings %s to %s', (path, domain) => {
    expect(upstreamOf(kong, path)).toBe(domain);
  });

  it.each([
    '/',
    '/health/live',
    '/health/ready',
    '/metrics',
    '/usersX',
    '/users.json',
    '/xusers',
    '/api/users',
    '/~node/options',
    '/$node/list',
    '/auths/login',
    '/openapi.json.bak',
    '/openapiXjson',
    '/Xwell-known/jwks.json',
    '/users/%2e%2e/health/live',
    '/users/..//metrics',
    '/Users',
  ])('knows no way to %s', path => {
    expect(upstreamOf(kong, path)).toBeUndefined();
    expect(upstreamOf(gateway, path)).toBeUndefined();
  });

  it('has an upstream for each domain, asked whether it is ready, and none for metrics', () => {
    const targets = kong.upstreams.flatMap(upstream => upstream.targets.map(({ target }) => target));
    expect(targets).toEqual(['users:3000', 'presence:3001', 'leave-requests:3002', 'tasks:3003', 'notifications:3005']);
    for (const { healthchecks } of kong.upstreams) {
      expect(healthchecks).toMatchObject({
        active: { http_path: '/health/ready', healthy: { interval: 2 }, unhealthy: { interval: 2 } },
        passive: { unhealthy: { tcp_failures: 2, http_failures: 0, timeouts: 0 } },
      });
    }
  });

  it('waits longer for an answer than the action may take, and takes bodies as large as the action does', () => {
    const router = new KongRouter(kong);
    for (const { path, service, action } of published.filter(operation => operation.service !== 'docs')) {
      const schema = servicesOf([...DOMAINS]).find(({ name }) => name === service);
      const { timeout = 15_000, http } = (schema?.actions?.[action] ?? {}) as { timeout?: number; http?: { bodyLimit?: number } };
      const match = router.find(path);
      expect(match?.service.read_timeout, path).toBeGreaterThan(timeout);
      const size = pluginConfig(kong, 'request-size-limiting', match?.service, match?.route);
      expect(size, path).toEqual({ allowed_payload_size: http?.bodyLimit ?? 1_000_000, size_unit: 'bytes' });
    }
  });

  it('lets 2,000 phones behind one address in at 9:00, and floods not', () => {
    const router = new KongRouter(kong);
    const limitOf = (path: string) => {
      const match = router.find(path);
      const { minute, hour, ...how } = pluginConfig(kong, 'rate-limiting', match?.service, match?.route) ?? {};
      expect(how).toEqual({ policy: 'local', limit_by: 'ip' });
      return { minute: Number(minute), hour: hour === undefined ? undefined : Number(hour) };
    };
    const ceiling = limitOf('/users');
    // A refresh, a check-in and ten reads each.
    expect(ceiling.minute).toBeGreaterThanOrEqual(2_000 * 12);
    expect(limitOf('/auth/refresh')).toEqual(ceiling);
    expect(limitOf('/presence/check-ins')).toEqual(ceiling);
    for (const path of ['/auth/login', '/auth/login/', '/auth/accept-invite']) {
      expect(limitOf(path).minute, path).toBeGreaterThanOrEqual(2_000);
      expect(limitOf(path).minute, path).toBeLessThan(ceiling.minute / 10);
    }
    expect(limitOf('/auth/sign-up')).toEqual({ minute: 20, hour: 200 });
    expect(limitOf('/auth/forgot-password')).toEqual({ minute: 100, hour: 1_000 });
  });

  it('streams from a service of its own: unbuffered, and for long', () => {
    const match = new KongRouter(kong).find('/notifications/stream');
    expect(match?.route).toMatchObject({ request_buffering: false, response_buffering: false });
    expect(match?.service.read_timeout).toBeGreaterThanOrEqual(900_000);
    expect(upstreamOf(kong, '/notifications/streams')).toBe('notifications');
    expect(new KongRouter(kong).find('/notifications/streams')?.route.response_buffering).toBe(true);
  });

  it('lets pages of listed origins only read answers, with the headers they need', () => {
    expect(pluginConfig(kong, 'cors')).toMatchObject({
      origins: expect.arrayContaining([expect.stringMatching(/^https?:\/\/[\w.:-]+$/)]),
      exposed_headers: ['ETag', 'Location', 'Retry-After', 'X-Request-Id', 'Idempotency-Replayed'],
      credentials: false,
    });
    expect(pluginConfig(withOrigins(kong, ['https://a.example']), 'cors')).toMatchObject({ origins: ['https://a.example'] });
  });

  it('is refused where it has what the router here does not know', () => {
    const text = readFileSync('kong.yml', 'utf8');
    const withMethods = text.replace('paths: ["~/tasks(/|$)"]', 'paths: ["~/tasks(/|$)"]\n        methods: [GET]');
    expect(() => parseKong(withMethods)).toThrow(/methods/);
    expect(() => parseKong(text.replace('"~/tasks(/|$)"', '"/tasks"'))).toThrow(/regular expression/);
    expect(() => parseKong(text.replace('host: tasks', 'host: task'))).toThrow('not there: task');
  });
});

describe('kong.gateway.yml', () => {
  it('is made of kong.yml', () => {
    expect(gateway).toEqual(parseKong(JSON.stringify(toGateway(kong))));
  });

  it.each(published)('brings $path of $service to api, unless it is of signing in', ({ path, service }) => {
    expect(upstreamOf(gateway, path)).toBe(service === 'auth' ? 'users' : 'api');
  });
});

describe('kong.jwt.yml', () => {
  const overlay = parse(readFileSync('kong.jwt.yml', 'utf8')) as Pick<KongConfig, 'plugins'>;
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1' }] };

  it('is off unless asked for', () => {
    expect(readFileSync('kong.yml', 'utf8')).not.toContain('name: jwt');
    expect(gateway.plugins.map(({ name }) => name)).not.toContain('jwt');
  });

  it.each([kong, gateway])('asks for a token on every service, but for signing in and the description', config => {
    const merged = withJwt(config, overlay, jwks);
    const guarded = merged.services.filter(service => pluginConfig(merged, 'jwt', service)).map(({ name }) => name);
    const open = merged.services.map(({ name }) => name).filter(name => !guarded.includes(name));
    expect(open).toEqual(['auth', 'docs']);
    expect(merged.consumers).toEqual([
      {
        username: 'signed-in',
        jwt_secrets: [{ key: 'k1', algorithm: 'ES256', rsa_public_key: expect.stringContaining('PUBLIC KEY') }],
      },
    ]);
    for (const { config: settings } of merged.plugins.filter(({ name }) => name === 'jwt')) {
      expect(settings).toMatchObject({ key_claim_name: 'kid', uri_param_names: [], cookie_names: [], claims_to_verify: ['exp'] });
    }
  });
});

describe('normalizePath', () => {
  it.each([
    ['/users', '/users'],
    ['/users/', '/users/'],
    ['//users///me', '/users/me'],
    ['/a/./b/../c', '/a/c'],
    ['/../../users', '/users'],
    ['/users/..', '/'],
    ['/%75sers', '/users'],
    ['/users%2fme', '/users%2Fme'],
    ['/users/%c3%a9', '/users/%C3%A9'],
    ['/users/%zz', '/users/%zz'],
  ])('makes %s %s', (path, normal) => {
    expect(normalizePath(path)).toBe(normal);
  });
});
