import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DOMAINS, databaseVariable, Environment, parseConfig } from '../../mixins/config';
import { readKong } from '../../scripts/kong/config';

interface Container {
  image?: string;
  build?: unknown;
  profiles?: string[];
  environment?: Record<string, string | number>;
  ports?: string[];
  networks?: string[] | Record<string, { ipv4_address?: string }>;
  healthcheck?: object;
  depends_on?: Record<string, { condition: string }>;
  hostname?: string;
  [key: string]: unknown;
}

const text = readFileSync('docker-compose.yml', 'utf8');
const compose = parse(text, { merge: true }) as { services: Record<string, Container>; volumes: object };
const gateway = parse(readFileSync('docker-compose.gateway.yml', 'utf8'), { logLevel: 'silent' }) as typeof compose;
const { services } = compose;
const kong = readKong('kong.yml');

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const sealKey = `k1:${randomBytes(32).toString('base64url')}`;
const SECRETS: Record<string, string> = {
  HIVER_JWT_PRIVATE_KEYS: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  HIVER_SEAL_KEYS: sealKey,
  HIVER_TRANSPORT_KEY: sealKey,
};

/** What Compose makes of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`, where only secrets are set. */
function environmentOf(name: string): NodeJS.ProcessEnv {
  const fill = (value: string | number) =>
    String(value).replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, variable: string, kind?: string, rest = '') =>
      kind === '-' ? rest : (SECRETS[variable] ?? `secret-of-${variable.toLowerCase().replaceAll('_', '-')}`),
    );
  return Object.fromEntries(Object.entries(services[name]?.environment ?? {}).map(([key, value]) => [key, fill(value)]));
}

const container = (name: string): Container => services[name] ?? expect.fail(`${name} is missing`);

describe('docker-compose.yml', () => {
  it.each(DOMAINS)('runs %s with a complete configuration, on the port that Kong knows', domain => {
    const environment = environmentOf(domain);
    const config = parseConfig(environment);
    expect(config).toMatchObject({
      mode: 'mesh',
      services: [domain, 'api'],
      nodeId: domain,
      host: '0.0.0.0',
      trustedProxies: ['172.30.240.10', '127.0.0.1'],
      corsOrigins: [],
    });
    const role = databaseVariable(domain).replace('DATABASE_URL_', 'hiver_').toLowerCase();
    expect(Object.keys(config.databaseUrls).filter(each => config.databaseUrls[each as never])).toEqual([domain]);
    expect(new URL(config.databaseUrls[domain] ?? '')).toMatchObject({
      username: role,
      hostname: 'postgres',
      pathname: `/${role}`,
    });
    const upstream = kong.upstreams.find(({ name }) => name === domain);
    expect(upstream?.targets).toEqual([{ target: `${domain}:${config.port}` }]);
    expect(container(domain).hostname).toBe(domain);
  });

  it.each([...DOMAINS, 'dev'])('gives %s no variable that nothing reads', name => {
    const known = new Set(Object.keys(Environment.shape));
    const names = Object.keys(container(name).environment ?? {});
    expect(names.filter(variable => !known.has(variable) && !variable.startsWith('OTEL_'))).toEqual([]);
  });

  it('gives no node a secret that is not its own', () => {
    const holders = (variable: string) => DOMAINS.filter(domain => variable in (container(domain).environment ?? {}));
    expect(holders('JWT_PRIVATE_KEYS')).toEqual(['users']);
    expect(holders('SEAL_KEYS')).toEqual(['users', 'notifications']);
    for (const domain of DOMAINS) expect(holders(databaseVariable(domain))).toEqual([domain]);
  });

  it('has a default for no secret', () => {
    const secrets = [...text.matchAll(/\$\{(HIVER_\w*(?:PASSWORD|KEY)\w*)(:.)?/g)];
    expect(secrets.length).toBeGreaterThan(10);
    expect(secrets.filter(([, , how]) => how !== ':?').map(([, name]) => name)).toEqual([]);
  });

  it('publishes Kong and Mailpit, and what profiles add on this machine only', () => {
    const ports = Object.entries(services).flatMap(([name, { ports: published = [], profiles }]) =>
      published.map(port => ({ name, port, profile: profiles?.[0] })),
    );
    expect(ports.filter(({ profile }) => !profile).map(({ port }) => port.replace(/^\$\{HIVER_BIND:-([\d.]+)\}/, '$1'))).toEqual([
      '127.0.0.1:8000:8000',
      '127.0.0.1:8443:8443',
      '127.0.0.1:1025:1025',
      '127.0.0.1:8025:8025',
    ]);
    for (const { port } of ports.filter(({ profile }) => profile)) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  it('keeps Kong quiet and closed, at the address that nodes believe', () => {
    const { environment, networks } = container('kong');
    expect(environment).toMatchObject({
      KONG_DATABASE: 'off',
      KONG_ADMIN_LISTEN: 'off',
      KONG_ADMIN_GUI_LISTEN: 'off',
      KONG_HEADERS: 'off',
      KONG_REAL_IP_HEADER: 'X-Forwarded-For',
      KONG_REAL_IP_RECURSIVE: 'on',
      KONG_PROXY_LISTEN: '0.0.0.0:8000, 0.0.0.0:8443 ssl http2',
    });
    expect(networks).toEqual({ edge: { ipv4_address: '172.30.240.10' } });
  });

  it('confines its containers, and starts them again', () => {
    for (const [name, { security_opt, restart, read_only }] of Object.entries(services)) {
      expect(security_opt, name).toContain('no-new-privileges:true');
      if (name !== 'dev') expect(restart, name).toBe('unless-stopped');
      if (DOMAINS.includes(name as never) || name === 'kong') expect(read_only, name).toBe(true);
    }
    for (const domain of DOMAINS) {
      expect(container(domain).depends_on).toMatchObject({
        postgres: { condition: 'service_healthy' },
        kafka: { condition: 'service_healthy' },
      });
    }
    expect(container('postgres').environment).toMatchObject({
      POSTGRES_INITDB_ARGS: '--encoding=UTF8 --locale-provider=icu --icu-locale=und --locale=C',
    });
    expect(container('postgres').volumes).toContain('postgres:/var/lib/postgresql');
    expect(container('kafka').environment).toMatchObject({
      KAFKA_OFFSETS_RETENTION_MINUTES: 43200,
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
    });
  });
});

describe('docker-compose.gateway.yml', () => {
  it('adds a node that runs only the API, where kong.gateway.yml looks for it', () => {
    const environment = { ...environmentOf('presence'), ...gateway.services.api?.environment, DATABASE_URL_PRESENCE: '' };
    const config = parseConfig(Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)])));
    expect(config).toMatchObject({ services: ['api'], nodeId: 'api', port: 3000 });
    const upstream = readKong('kong.gateway.yml').upstreams.find(({ name }) => name === 'api');
    expect(upstream?.targets).toEqual([{ target: 'api:3000' }]);
    expect(gateway.services.kong?.volumes).toEqual(['./kong.gateway.yml:/etc/hiver/kong.yml:ro']);
  });
});

describe('what watches the mesh', () => {
  it('scrapes every node on its port of metrics', () => {
    const prometheus = parse(readFileSync('docker/prometheus/prometheus.yml', 'utf8')) as {
      scrape_configs: { dns_sd_configs?: { names: string[]; port: number }[] }[];
    };
    const scraped = prometheus.scrape_configs.flatMap(({ dns_sd_configs = [] }) => dns_sd_configs);
    for (const domain of DOMAINS) {
      expect(scraped).toContainEqual(
        expect.objectContaining({ names: [domain], port: parseConfig(environmentOf(domain)).metricsPort }),
      );
    }
  });

  it('draws metrics that nodes have', () => {
    const dashboard = JSON.parse(readFileSync('docker/grafana/dashboards/hiver.json', 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const sources = ['metrics', 'domain.metrics'].map(name => readFileSync(`mixins/metrics/${name}.ts`, 'utf8')).join('\n');
    const names = dashboard.panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/hiver_\w+/g) ?? []));
    expect(new Set(names).size).toBeGreaterThan(5);
    for (const name of names) expect(sources).toContain(`'${name.replace(/_(count|bucket|sum)$/, '')}'`);
  });
});

describe('.dockerignore', () => {
  it('lets through what the Dockerfile copies', () => {
    const copied = [...readFileSync('Dockerfile', 'utf8').matchAll(/^COPY (?!--from)(?:--\S+ )?(.+) \S+$/gm)];
    const allowed = readFileSync('.dockerignore', 'utf8')
      .split('\n')
      .filter(line => line.startsWith('!'))
      .map(line => line.slice(1));
    const paths = copied.flatMap(([, files = '']) => files.split(' '));
    expect(paths).toContain('package.json');
    for (const path of paths) expect(allowed).toContain(path.split('/')[0]);
  });
});
