import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BrokerOptions } from 'moleculer';
import { afterAll, describe } from 'vitest';
import { type Config, DOMAINS } from '../../mixins/config';
import type { KafkaProcess } from '../kafka/broker';
import { describeWithOwnKafka } from '../kafka/describe';
import { type App, startApp, testConfig } from './app';

/** What connects the nodes of a mesh. */
interface Connection {
  config: () => Partial<Config>;
  broker?: BrokerOptions;
}

/** Within this process, by Moleculer's own: packets are written and read as they are on any transporter. */
const IN_PROCESS: Connection = { config: () => ({}), broker: { transporter: 'Fake' } };

/** Over Kafka, which carries their events too. */
function overKafka(kafka: () => KafkaProcess): Connection {
  const transportKeys = [{ id: 'test', key: randomBytes(32) }];
  return {
    config: () => ({
      mode: 'mesh',
      kafka: { brokers: [kafka().brokers], ssl: false, sasl: undefined },
      transportKeys,
    }),
  };
}

/** Describes what nodes do together that are connected within this process, which is fast. */
export function describeMesh(name: string, body: (connection: Connection) => void): void {
  describe(name, () => body(IN_PROCESS));
}

/** Describes what nodes do together over a Kafka of their own. */
export function describeMeshOverKafka(name: string, body: (connection: Connection) => void): void {
  describeWithOwnKafka(name, kafka => body(overKafka(kafka)));
}

/** Three nodes, and in front of them what a proxy does. */
export interface Mesh {
  /** People, and the mails to them. */
  users: App;
  /** All other domains. */
  others: App;
  gateway: App;
  /** `http://…`, for small bodies: `/auth` and `/.well-known` go straight to the users, all else to the gateway. */
  url: string;
  /** Starts a node that was stopped again, on the same data. */
  restart(node: 'users' | 'others'): Promise<void>;
}

const fronts: Server[] = [];
afterAll(() => {
  for (const front of fronts.splice(0)) front.close();
});

/** Starts the nodes of a mesh with a gateway, and waits until it knows them. */
export async function startMesh(connection: Connection): Promise<Mesh> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
  const { jwt, sealKeys, dataDir } = await testConfig({ services: [] });
  // All nodes know the key, and write their mails to one folder.
  const shared = { ...connection.config(), jwt: { ...jwt, privateKeys: String(pem) }, sealKeys, dataDir };
  const start = (config: Partial<Config>) => startApp({ ...shared, ...config }, { broker: connection.broker });
  const [users, others, gateway] = await Promise.all([
    start({ services: ['users', 'notifications', 'api'] }),
    start({ services: ['presence', 'tasks', 'leave-requests', 'api'] }),
    start({ services: ['api'] }),
  ]);
  const mesh: Mesh = {
    users,
    others,
    gateway,
    url: '',
    async restart(node) {
      mesh[node] = await start(mesh[node].config);
    },
  };
  mesh.url = await openFront(path => (/^\/(auth|\.well-known)\//.test(path) ? mesh.users.url : mesh.gateway.url));
  await gateway.broker.waitForServices(['users', 'companies', 'teams', ...DOMAINS]);
  return mesh;
}

async function openFront(targetOf: (path: string) => string): Promise<string> {
  const front = createServer((req: IncomingMessage, res: ServerResponse) => {
    const { method, headers, url = '/' } = req;
    // A connection of its own for each: one that is closed while it is taken again is a failed request.
    const options = { method, headers: { ...headers, connection: 'close' }, agent: false } as const;
    const upstream = request(targetOf(url) + url, options, answer => {
      const { connection: _, ...said } = answer.headers;
      res.writeHead(answer.statusCode ?? 502, said);
      answer.pipe(res);
    });
    upstream.on('error', () => res.destroy());
    req.pipe(upstream);
  });
  front.keepAliveTimeout = 65_000;
  fronts.push(front);
  await new Promise<void>(resolve => front.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
}
