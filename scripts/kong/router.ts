import type { KongConfig, KongRoute, KongService } from './config';

export interface Match {
  service: KongService;
  route: KongRoute;
}

/** Chooses routes as Kong's `traditional_compatible` router does, for the routes that `kong.yml` may have. */
export class KongRouter {
  readonly #entries: readonly (Match & { patterns: readonly RegExp[] })[];

  constructor({ services }: KongConfig) {
    this.#entries = services.flatMap(service =>
      service.routes.map(route => ({
        service,
        route,
        patterns: route.paths.map(path => new RegExp(`^${path.slice(1)}`)),
      })),
    );
  }

  /** The routes of the highest priority that match a normalized path. More than one is a mistake: nothing says which wins. */
  winners(path: string): Match[] {
    const matching = this.#entries.filter(({ patterns }) => patterns.some(pattern => pattern.test(path)));
    const highest = Math.max(...matching.map(({ route }) => route.regex_priority));
    return matching.filter(({ route }) => route.regex_priority === highest);
  }

  find(path: string): Match | undefined {
    return this.winners(path)[0];
  }
}

/**
 * The path that Kong looks up and passes on: escapes of unreserved characters decoded, dot segments resolved, slashes
 * merged (`kong/tools/uri.lua`, `normalize`).
 */
export function normalizePath(path: string): string {
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (escaped, hex: string) => {
    // The rest Kong leaves, or decodes and escapes again.
    const character = String.fromCharCode(Number.parseInt(hex, 16));
    return /[\w.~-]/.test(character) ? character : escaped.toUpperCase();
  });
  const segments = decoded.split('/').slice(1);
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  const isFolder = ['', '.', '..'].includes(segments.at(-1) ?? '');
  return `/${kept.join('/')}${isFolder && kept.length > 0 ? '/' : ''}`;
}
