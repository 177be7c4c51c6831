import { DOMAINS, type Domain, databaseVariable } from '../../mixins/config';
import { freePort } from '../../mixins/embedded/free-port';
import { NodeProcess } from './node-process';
import type { Secrets } from './secrets';

/** Where each domain's first node listens; further ones ten higher. */
const PORTS: Readonly<Record<Domain, number>> = {
  users: 3000,
  presence: 3001,
  'leave-requests': 3002,
  tasks: 3003,
  notifications: 3005,
};

const portOf = (domain: Domain, nth: number) => PORTS[domain] + 10 * nth;

/** The usual ports of all nodes. */
export function portsOf(replicas: Partial<Record<Domain, number>>): number[] {
  return DOMAINS.flatMap(domain => Array.from({ length: replicas[domain] ?? 1 }, (_, nth) => portOf(domain, nth)));
}

export interface MeshOptions {
  databaseUrls: Record<Domain, string>;
  /** Kafka's, `host:port`. */
  brokers: string;
  secrets: Secrets;
  /** Which domains there are; all of them unless told. */
  domains?: readonly Domain[];
  /** How many nodes a domain has; one unless told. */
  replicas?: Partial<Record<Domain, number>>;
  /** Free ports instead of the usual ones. */
  anyPorts?: boolean;
  /** Variables for every node. */
  environment: Record<string, string>;
  onLine(node: string, line: string): void;
}

export interface Mesh {
  nodes: NodeProcess[];
  nodesOf(domain: Domain): NodeProcess[];
  /** Resolves when all of them serve requests. */
  ready(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts one node or more for each domain, each a process with the domain's services and its own API. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const { databaseUrls, brokers, secrets, replicas = {}, environment, onLine } = options;
  const byDomain = new Map<Domain, NodeProcess[]>();
  const choosePort = (domain: Domain, nth: number) => (options.anyPorts ? freePort() : portOf(domain, nth));
  const usersPort = await choosePort('users', 0);
  for (const domain of options.domains ?? DOMAINS) {
    const nodes: NodeProcess[] = [];
    for (let nth = 0; nth < (replicas[domain] ?? 1); nth++) {
      const name = `${domain}-${nth + 1}`;
      const port = domain === 'users' && nth === 0 ? usersPort : await choosePort(domain, nth);
      nodes.push(
        new NodeProcess({
          name,
          port,
          environment: {
            HIVER_SERVICES: `${domain},api`,
            HOST: '127.0.0.1',
            METRICS_PORT: options.anyPorts ? '0' : '',
            [databaseVariable(domain)]: databaseUrls[domain],
            KAFKA_BROKERS: brokers,
            TRANSPORT_KEY: secrets.transportKey,
            ...(domain === 'users' && { JWT_PRIVATE_KEYS: secrets.privateKeys }),
            ...(domain !== 'users' && { JWKS_URL: `http://127.0.0.1:${usersPort}/.well-known/jwks.json` }),
            // Only who makes links and who sends them may open them.
            ...((domain === 'users' || domain === 'notifications') && { SEAL_KEYS: secrets.sealKey }),
            ...environment,
          },
          onLine: line => onLine(name, line),
        }),
      );
    }
    byDomain.set(domain, nodes);
  }
  const nodes = [...byDomain.values()].flat();
  for (const node of nodes) node.start();
  return {
    nodes,
    nodesOf: domain => byDomain.get(domain) ?? [],
    async ready() {
      await Promise.all(nodes.map(node => node.ready()));
    },
    async stop() {
      await Promise.all(nodes.map(node => node.stop()));
    },
  };
}

/** The nodes behind each upstream of kong.yml: upstreams are named after domains. */
export function targetsOf({ nodesOf }: Pick<Mesh, 'nodesOf'>): Record<string, string[]> {
  return Object.fromEntries(DOMAINS.map(domain => [domain, nodesOf(domain).map(({ url }) => url)]));
}
