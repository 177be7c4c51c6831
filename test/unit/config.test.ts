import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, DOMAINS, databaseVariable, Environment, parseConfig } from '../../mixins/config';

const SEAL_KEYS = `a:${randomBytes(32).toString('base64url')}`;
const GATEWAY = {
  HIVER_SERVICES: 'api',
  KAFKA_BROKERS: 'kafka:9092',
  TRANSPORT_KEY: SEAL_KEYS,
  JWKS_URL: 'http://users:3000/.well-known/jwks.json',
};

function problemsOf(environment: NodeJS.ProcessEnv): readonly string[] {
  try {
    parseConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('parseConfig', () => {
  it('makes an embedded configuration of an empty environment', () => {
    expect(parseConfig({})).toMatchObject({
      mode: 'embedded',
      services: ['users', 'presence', 'tasks', 'leave-requests', 'notifications', 'api'],
      host: '127.0.0.1',
      port: 3000,
      dataDir: resolve('.data'),
      kafka: undefined,
      smtpUrl: undefined,
      corsOrigins: [],
      trustedProxies: [],
      sealKeys: [],
      logLevel: 'info',
    });
  });

  it('takes an empty variable as unset', () => {
    expect(parseConfig({ PORT: '', HIVER_SERVICES: '', SMTP_URL: '' })).toEqual(parseConfig({}));
  });

  it('reads every kind of variable', () => {
    const config = parseConfig({
      HOST: '0.0.0.0',
      PORT: '8080',
      DATA_DIR: '/var/lib/hiver',
      DATABASE_URL_USERS: 'postgres://u:p@db/hiver_users',
      KAFKA_BROKERS: 'kafka-1:9092, kafka-2:9092',
      KAFKA_SSL: 'true',
      KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
      KAFKA_SASL_USERNAME: 'hiver',
      KAFKA_SASL_PASSWORD: 'secret',
      APP_URL: 'https://app.example.com/',
      SMTP_URL: 'smtps://u:p@mail.example.com',
      CORS_ORIGINS: 'https://a.example.com, https://b.example.com',
      TRUSTED_PROXIES: '10.0.0.0/8,::1',
      SEAL_KEYS,
      LOG_LEVEL: 'debug',
    });
    expect(config).toMatchObject({
      host: '0.0.0.0',
      port: 8080,
      dataDir: '/var/lib/hiver',
      databaseUrls: { users: 'postgres://u:p@db/hiver_users' },
      kafka: {
        brokers: ['kafka-1:9092', 'kafka-2:9092'],
        ssl: true,
        sasl: { mechanism: 'SCRAM-SHA-512', username: 'hiver', password: 'secret' },
      },
      appUrl: 'https://app.example.com',
      smtpUrl: 'smtps://u:p@mail.example.com',
      corsOrigins: ['https://a.example.com', 'https://b.example.com'],
      trustedProxies: ['10.0.0.0/8', '::1'],
      logLevel: 'debug',
    });
    expect(config.sealKeys.map(({ id, key }) => [id, key.length])).toEqual([['a', 32]]);
  });

  it.each([
    ['PORT', 'http'],
    ['PORT', '65536'],
    ['HIVER_SERVICES', 'users,payroll'],
    ['DATABASE_URL_USERS', 'mysql://localhost/hiver'],
    ['KAFKA_BROKERS', 'kafka://localhost'],
    ['KAFKA_SSL', 'yes'],
    ['KAFKA_SASL_MECHANISM', 'GSSAPI'],
    ['APP_URL', 'app.example.com'],
    ['SMTP_URL', 'mail.example.com'],
    ['CORS_ORIGINS', '*'],
    ['TRUSTED_PROXIES', '10.0.0.0/99'],
    ['SEAL_KEYS', 'a:short'],
    ['LOG_LEVEL', 'loud'],
    ['NODE_ENV', 'staging'],
    ['NODE_ID', 'a.b'],
    ['METRICS_PORT', 'x'],
    ['JWKS_URL', 'users'],
    ['TRANSPORT_KEY', 'x'],
  ])('refuses %s=%s by its name', (name, value) => {
    const [problem, ...others] = problemsOf({ [name]: value });
    expect(problem).toMatch(new RegExp(`^${name} `));
    expect(others).toEqual([]);
  });

  it('names everything that is wrong at once', () => {
    const problems = problemsOf({ PORT: 'x', SMTP_URL: 'x', LOG_LEVEL: 'x', SEAL_KEYS: 'x' });
    expect(problems.map(problem => problem.split(' ')[0]).sort()).toEqual(['LOG_LEVEL', 'PORT', 'SEAL_KEYS', 'SMTP_URL']);
  });

  it('never repeats the value of a secret', () => {
    const secret = 'hunter2hunter2';
    const problems = problemsOf({
      SEAL_KEYS: `a:${secret}`,
      DATABASE_URL_USERS: `mysql://u:${secret}@db`,
      SMTP_URL: `http://${secret}`,
    });
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain(secret);
  });

  it('refuses a mesh node without its databases and secrets, all named at once', () => {
    expect(problemsOf({ HIVER_SERVICES: 'users,notifications,api' })).toEqual([
      'KAFKA_BROKERS is missing',
      'DATABASE_URL_USERS is missing',
      'DATABASE_URL_NOTIFICATIONS is missing',
      'JWT_PRIVATE_KEYS is missing',
      'SEAL_KEYS is missing',
    ]);
  });

  it('asks a mesh node only for what its services need', () => {
    expect(problemsOf(GATEWAY)).toEqual([]);
    const { JWKS_URL: _, ...node } = GATEWAY;
    expect(problemsOf({ ...node, HIVER_SERVICES: 'notifications', SEAL_KEYS })).toEqual([
      'JWKS_URL is missing',
      'DATABASE_URL_NOTIFICATIONS is missing',
    ]);
    expect(problemsOf({ ...GATEWAY, HIVER_SERVICES: 'presence' })).toEqual(['DATABASE_URL_PRESENCE is missing']);
  });

  it('asks for nobody to carry events where all domains are in one process', () => {
    const urls = Object.fromEntries(DOMAINS.map(domain => [databaseVariable(domain), 'postgres://db/hiver']));
    const alone = { ...urls, HIVER_SERVICES: [...DOMAINS, 'api'].join(), SEAL_KEYS, JWT_PRIVATE_KEYS: 'pem' };
    expect(problemsOf(alone)).toEqual([]);
    expect(problemsOf({ ...alone, KAFKA_BROKERS: 'kafka:9092' })).toEqual(['TRANSPORT_KEY is missing']);
  });

  it('asks for the user and password that Kafka wants to see, and for none where tokens are shown', () => {
    const kafka = (mechanism: string) => ({ KAFKA_BROKERS: 'kafka:9092', KAFKA_SASL_MECHANISM: mechanism });
    expect(problemsOf(kafka('PLAIN'))).toEqual(['KAFKA_SASL_USERNAME is missing', 'KAFKA_SASL_PASSWORD is missing']);
    expect(problemsOf({ ...kafka('SCRAM-SHA-256'), KAFKA_SASL_USERNAME: 'u' })).toEqual(['KAFKA_SASL_PASSWORD is missing']);
    expect(problemsOf(kafka('OAUTHBEARER'))).toEqual([]);
  });

  it('listens on all addresses in a mesh', () => {
    expect(parseConfig(GATEWAY)).toMatchObject({ mode: 'mesh', host: '0.0.0.0', services: ['api'] });
  });

  it('names a mesh node after its machine and services, the same each time, and lets NODE_ID tell several apart', () => {
    expect(parseConfig(GATEWAY).nodeId).toMatch(/^[\w-]+-api$/);
    expect(parseConfig(GATEWAY).nodeId).toBe(parseConfig(GATEWAY).nodeId);
    expect(parseConfig({ ...GATEWAY, NODE_ID: 'presence-2' }).nodeId).toBe('presence-2');
  });

  it('measures for Prometheus in a mesh, on a port of its own', () => {
    expect(parseConfig({ ...GATEWAY, PORT: '3001' }).metricsPort).toBe(9001);
    expect(parseConfig({ ...GATEWAY, METRICS_PORT: '9100' }).metricsPort).toBe(9100);
    expect(parseConfig({}).metricsPort).toBeUndefined();
  });
});

describe('.env.example', () => {
  it('lists exactly the variables that are read, in their order', () => {
    const listed = [...readFileSync('.env.example', 'utf8').matchAll(/^(\w+)=/gm)].map(([, name]) => name);
    expect(listed).toEqual(Object.keys(Environment.shape));
  });

  it('says what each of them is for', () => {
    const blocks = readFileSync('.env.example', 'utf8').trim().split('\n\n');
    for (const block of blocks) expect(block).toMatch(/^# /);
  });
});
