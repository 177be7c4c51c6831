import { DOMAINS, type Domain } from '../../mixins/config';
import { StartError } from '../../mixins/embedded/start-error';

const USAGE = 'npm run mesh [-- --replicas presence=2,users=2]';
const MOST = 5;

/**
 * How many nodes each domain is to have, from `--replicas presence=2,users=2`.
 * @throws {StartError} with the usage line
 */
export function replicasOf(args: readonly string[]): Partial<Record<Domain, number>> {
  const [name, list, ...rest] = args.flatMap(arg => arg.split(/(?<=^--replicas)=/));
  if (name === undefined) return {};
  if (name !== '--replicas' || !list || rest.length > 0) throw new StartError(USAGE);
  return Object.fromEntries(list.split(',').map(toReplicas));
}

function toReplicas(text: string): [Domain, number] {
  const [, domain, count] = /^([a-z-]+)=(\d)$/.exec(text) ?? [];
  if (!DOMAINS.some(known => known === domain)) throw new StartError(`${text}: domains are ${DOMAINS.join(', ')}\n${USAGE}`);
  if (!(Number(count) >= 1 && Number(count) <= MOST)) throw new StartError(`${text}: 1 to ${MOST} nodes\n${USAGE}`);
  return [domain as Domain, Number(count)];
}
