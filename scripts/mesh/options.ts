import { parseArgs } from 'node:util';
import { DOMAINS, type Domain } from '../../mixins/config';
import { StartError } from '../../mixins/embedded/start-error';

const USAGE = 'npm run mesh [-- --replicas presence=2,users=2] [--any-ports]';
const MOST = 5;

export interface MeshArguments {
  /** How many nodes a domain has; one unless told. */
  replicas: Partial<Record<Domain, number>>;
  /** Whichever ports are free, for several on one machine. */
  anyPorts: boolean;
}

/**
 * What `npm run mesh` was asked for.
 * @throws {StartError} with the usage line
 */
export function meshArguments(args: readonly string[]): MeshArguments {
  const { replicas = '', 'any-ports': anyPorts = false } = parse(args);
  return { replicas: Object.fromEntries(replicas.split(',').filter(Boolean).map(toReplicas)), anyPorts };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: { replicas: { type: 'string' }, 'any-ports': { type: 'boolean' } } }).values;
  } catch (error) {
    throw new StartError(`${(error as Error).message}\n${USAGE}`);
  }
}

function toReplicas(text: string): [Domain, number] {
  const [, domain, count] = /^([a-z-]+)=(\d)$/.exec(text) ?? [];
  if (!DOMAINS.some(known => known === domain)) throw new StartError(`${text}: domains are ${DOMAINS.join(', ')}\n${USAGE}`);
  if (!(Number(count) >= 1 && Number(count) <= MOST)) throw new StartError(`${text}: 1 to ${MOST} nodes\n${USAGE}`);
  return [domain as Domain, Number(count)];
}
