import type { KongConfig } from './config';

/** Milliseconds for which a target that could not be reached is asked last, as Kong's active checks would find it again. */
const REST = 2_000;

/** URLs of the nodes behind each upstream. */
export type Targets = Readonly<Record<string, readonly string[]>>;

/** The targets that the configuration names, as processes of this machine. */
export function localTargets({ upstreams }: KongConfig): Targets {
  const urlOf = ({ target }: { target: string }) => `http://127.0.0.1:${target.split(':')[1]}`;
  return Object.fromEntries(upstreams.map(({ name, targets }) => [name, targets.map(urlOf)]));
}

/** Takes targets in turn, those that just could not be reached last. */
export class Balancer {
  readonly #turns = new Map<string, number>();
  readonly #downUntil = new Map<string, number>();

  constructor(readonly targets: Targets) {}

  /** The targets of an upstream in the order in which to try them. */
  order(upstream: string): string[] {
    const targets = this.targets[upstream] ?? [];
    const turn = this.#turns.get(upstream) ?? 0;
    this.#turns.set(upstream, turn + 1);
    const inTurn = targets.map((_, at) => targets[(turn + at) % targets.length] ?? '');
    return [...inTurn.filter(target => !this.#isDown(target)), ...inTurn.filter(target => this.#isDown(target))];
  }

  markDown(target: string): void {
    this.#downUntil.set(target, Date.now() + REST);
  }

  #isDown(target: string): boolean {
    return (this.#downUntil.get(target) ?? 0) > Date.now();
  }
}
