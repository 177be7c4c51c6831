import type { ServerResponse } from 'node:http';
import type { ActionSchema, ServiceBroker } from 'moleculer';
import type { Auth, HttpFacts } from '../../mixins/contract';
import type { ApiRequest } from './exchange';

/** One method of one path, in the shape in which moleculer-web keeps its aliases. */
export interface Route {
  method: string;
  /** `/users/:id` */
  pattern: string;
  /** Names of the path's parameters. */
  names: readonly string[];
  auth: Exclude<Auth, 'internal'>;
  http: HttpFacts;
  /** The action that answers. Without one, `handler` does. */
  action?: string;
  /** The only node that is asked; without it any that has the action. */
  nodeId?: string;
  handler?: (req: ApiRequest, res: ServerResponse) => Promise<void>;
  toString(): string;
}

export interface FoundRoute {
  route: Route;
  /** Decoded path parameters. */
  params: Record<string, string>;
}

/** Makes a route from `'POST /users/:id/approve'`. */
export function routeOf(target: string, facts: Omit<Route, 'method' | 'pattern' | 'names' | 'toString'>): Route {
  const [method = '', path = ''] = target.split(' ');
  const pattern = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  if (!/^[A-Z]+$/.test(method) || !/^\/[^:]/.test(pattern)) throw new Error(`${target} is no route`);
  const names = pattern
    .split('/')
    .filter(isName)
    .map(segment => segment.slice(1));
  return { ...facts, method, pattern, names, toString: () => `${method} ${pattern}` };
}

/** `METHOD /path` of an action's `rest`, below its service's name unless it says the whole path. */
export function targetOf(serviceName: string, rest: NonNullable<HttpFacts['rest']>): string {
  if (typeof rest !== 'string') return `${rest.method} ${rest.fullPath}`;
  const [method, path] = rest.split(' ');
  return `${method} /${serviceName}${path}`;
}

/** Whether `If-Match` is looked at: where something is changed that was there before. */
export function isConditional({ method, http }: Pick<Route, 'method' | 'http'>): boolean {
  return http.versioned === true && method !== 'GET' && http.status !== 201;
}

/** Whether `Idempotency-Key` is looked at: for POSTs of whoever is signed in, but not of signing in and out. */
export function takesIdempotencyKey({ method, auth, pattern }: Pick<Route, 'method' | 'auth' | 'pattern'>): boolean {
  return method === 'POST' && auth !== 'public' && !pattern.startsWith('/auth/');
}

/** Definitions of actions, of this process or as another node told them. */
type Definitions = Readonly<Record<string, unknown>>;

/** The routes of a service's actions that state their HTTP facts; nothing else is ever published. */
export function routesOf(service: string, actions: Definitions, nodeId?: string): Route[] {
  return Object.entries(actions).flatMap(([key, definition]) => {
    const { name, rest, http, auth, visibility } = definition as Partial<ActionSchema>;
    if (!rest || !http || !auth || auth === 'internal' || visibility !== 'published') return [];
    return [
      routeOf(targetOf(service, rest), {
        action: name ?? `${service}.${key}`,
        auth,
        http,
        nodeId,
      }),
    ];
  });
}

/**
 * The routes of this node's own services. Nobody else is asked for them: it needs no hop, and passwords never leave the
 * process.
 */
export function localRoutes(broker: ServiceBroker): Route[] {
  const local = broker.registry.services.services.filter(service => service.local);
  return local.flatMap(({ name, actions }) => routesOf(name, actions, broker.nodeID));
}

const isName = (segment: string) => segment.startsWith(':');

interface Path {
  segments: readonly string[];
  methods: Map<string, Route>;
}

/**
 * Finds routes by index: fixed paths in a map, paths with parameters in lists by their first segment.
 * A fixed path wins over a parameter: `/users/me` is never `/users/:id`.
 */
export class RouteIndex {
  readonly #fixed = new Map<string, Path>();
  readonly #patterns = new Map<string, Path[]>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.#add(route);
    for (const paths of this.#patterns.values()) paths.sort((a, b) => parametersIn(a) - parametersIn(b));
  }

  /** The methods of a path with its parameters; undefined where there is nothing. */
  find(path: string): { methods: ReadonlyMap<string, Route>; params: Record<string, string> } | undefined {
    const fixed = this.#fixed.get(path);
    if (fixed) return { methods: fixed.methods, params: {} };
    const segments = path.split('/');
    for (const candidate of this.#patterns.get(segments[1] ?? '') ?? []) {
      const params = match(candidate.segments, segments);
      if (params) return { methods: candidate.methods, params };
    }
    return undefined;
  }

  /** What `Allow` says of a path: its methods, HEAD where there is GET, and OPTIONS. */
  allowed(path: string): string | undefined {
    const found = this.find(path);
    if (!found) return undefined;
    const methods = [...found.methods.keys()];
    if (found.methods.has('GET')) methods.push('HEAD');
    return [...methods, 'OPTIONS'].join(', ');
  }

  #add(route: Route): void {
    const { methods } = this.#pathOf(route);
    if (methods.has(route.method)) throw new Error(`Two actions answer ${route}`);
    methods.set(route.method, route);
  }

  #pathOf({ pattern, names }: Route): Path {
    const segments = pattern.split('/');
    if (names.length === 0) {
      const path = this.#fixed.get(pattern) ?? { segments, methods: new Map() };
      this.#fixed.set(pattern, path);
      return path;
    }
    const paths = this.#patterns.get(segments[1] ?? '') ?? [];
    this.#patterns.set(segments[1] ?? '', paths);
    const known = paths.find(path => path.segments.join('/') === pattern);
    if (known) return known;
    const path = { segments, methods: new Map<string, Route>() };
    paths.push(path);
    return path;
  }
}

function parametersIn({ segments }: Path): number {
  return segments.filter(isName).length;
}

function match(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, expected] of pattern.entries()) {
    const actual = segments[at] ?? '';
    if (!isName(expected)) {
      if (actual !== expected) return undefined;
      continue;
    }
    const value = decode(actual);
    if (!value) return undefined;
    params[expected.slice(1)] = value;
  }
  return params;
}

/** An escape sequence that is no UTF-8 names nothing. */
function decode(segment: string): string | undefined {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
