import type { KongConfig } from './config';

/** Milliseconds between looks at a target that could not be reached. */
const LOOK_EVERY = 500;

/** URLs of the nodes behind each upstream. */
export type Targets = Readonly<Record<string, readonly string[]>>;

/** The targets that the configuration names, as processes of this machine. */
export function localTargets({ upstreams }: KongConfig): Targets {
  const urlOf = ({ target }: { target: string }) => `http://127.0.0.1:${target.split(':')[1]}`;
  return Object.fromEntries(upstreams.map(({ name, targets }) => [name, targets.map(urlOf)]));
}

/**
 * Takes targets in turn, those that could not be reached last, until they say that they are ready: as Kong's passive and
 * active checks do.
 */
export class Balancer {
  readonly #turns = new Map<string, number>();
  readonly #looks = new Map<string, NodeJS.Timeout>();

  /** @param healthPath where a target says whether it is ready */
  constructor(
    readonly targets: Targets,
    private readonly healthPath: string,
  ) {}

  /** The targets of an upstream in the order in which to try them. */
  order(upstream: string): string[] {
    const targets = this.targets[upstream] ?? [];
    const turn = this.#turns.get(upstream) ?? 0;
    this.#turns.set(upstream, turn + 1);
    const inTurn = targets.map((_, at) => targets[(turn + at) % targets.length] ?? '');
    return [...inTurn.filter(target => !this.#isDown(target)), ...inTurn.filter(target => this.#isDown(target))];
  }

  markDown(target: string): void {
    if (this.#isDown(target)) return;
    this.#looks.set(
      target,
      setInterval(() => void this.#look(target), LOOK_EVERY),
    );
  }

  /** Ends all looks. */
  close(): void {
    for (const look of this.#looks.values()) clearInterval(look);
    this.#looks.clear();
  }

  async #look(target: string): Promise<void> {
    const response = await fetch(target + this.healthPath, { signal: AbortSignal.timeout(LOOK_EVERY) }).catch(() => undefined);
    await response?.arrayBuffer().catch(() => undefined);
    if (!response?.ok) return;
    clearInterval(this.#looks.get(target));
    this.#looks.delete(target);
  }

  #isDown(target: string): boolean {
    return this.#looks.has(target);
  }
}
