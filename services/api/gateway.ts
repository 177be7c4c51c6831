import type { ServiceBroker, ServiceSchema } from 'moleculer';
import ApiService from './api.service';
import { localRoutes, type Route, routesOf } from './routes';

/**
 * Services whose requests hold passwords and link tokens: those do not travel between nodes. They are asked for at their
 * own nodes, and a gateway has no such paths.
 */
const NEVER_CARRIED: ReadonlySet<string> = new Set(['auth']);

/**
 * The API of a node that has no domain: it publishes every action of the mesh, and calls it there.
 * @param services what the mesh is made of, as this version of the code has it; none of them is started
 */
export function gateway(services: readonly ServiceSchema[]): Partial<ServiceSchema> {
  const routes = new MeshRoutes(services);
  return {
    name: 'api',
    mixins: [ApiService as unknown as Partial<ServiceSchema>],
    methods: {
      listRoutes(this: { broker: ServiceBroker }) {
        return [...localRoutes(this.broker), ...routes.list(this.broker)];
      },
    },
  };
}

/**
 * Which routes the mesh has. The code tells: a service that is away is known all the same, so that 503 is answered for it
 * and not 404. Nodes tell better, as they may run another version: what a service says of itself counts, also when it is
 * gone again.
 */
class MeshRoutes {
  readonly #ofCode: readonly Route[];
  readonly #told = new Map<string, readonly Route[]>();

  constructor(services: readonly ServiceSchema[]) {
    this.#ofCode = services
      .filter(({ name }) => !NEVER_CARRIED.has(name))
      .flatMap(({ name, actions }) => routesOf(name, actions ?? {}));
  }

  list(broker: ServiceBroker): Route[] {
    for (const [service, routes] of toldBy(broker)) this.#told.set(service, routes);
    const told = [...this.#told.values()].flat();
    // By shape: another version may call a parameter of the path otherwise.
    return [...new Map([...this.#ofCode, ...told].map(route => [shapeOf(route), route])).values()];
  }
}

/** The routes of the services on other nodes; where nodes differ, those of all of them. */
function toldBy(broker: ServiceBroker): Map<string, Route[]> {
  const told = new Map<string, Route[]>();
  const { actions: catalog, services } = broker.registry;
  for (const { name, local, node, actions } of services.services) {
    // Each node has an `api` and its own health.
    if (local || name === 'api' || NEVER_CARRIED.has(name)) continue;
    // The registry does not forget the actions that a service has lost, only that they can be called.
    const present = Object.entries(actions).filter(([action]) => catalog.get(action)?.hasNodeID(node.id));
    told.set(name, [...(told.get(name) ?? []), ...routesOf(name, Object.fromEntries(present))]);
  }
  return told;
}

function shapeOf({ method, pattern }: Route): string {
  return `${method} ${pattern.replaceAll(/:[^/]+/g, ':')}`;
}
