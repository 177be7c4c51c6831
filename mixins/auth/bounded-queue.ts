import { commonProblems } from '../errors';

/** Lets so many tasks run at a time, and so many wait; more are turned away at once. */
export class BoundedQueue {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(private readonly limits: { concurrency: number; capacity: number; retryAfterSeconds: number }) {}

  /**
   * Runs a task as soon as it is its turn.
   * @throws UNAVAILABLE with `Retry-After` when too many wait already
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const { concurrency, capacity, retryAfterSeconds } = this.limits;
    if (this.#running < concurrency) this.#running++;
    else if (this.#waiting.length < capacity) await new Promise<void>(resolve => this.#waiting.push(resolve));
    else throw commonProblems.UNAVAILABLE({ retryAfter: retryAfterSeconds });
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      // The place goes on to the next one, so that nobody who comes meanwhile takes it.
      if (next) next();
      else this.#running--;
    }
  }
}
