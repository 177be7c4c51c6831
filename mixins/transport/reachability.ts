import type { Log } from '../events/kafka.client';
import { leavesOf } from './errors';

/** Says once that Kafka is away, and once that it is back: between the two everything fails for the same reason. */
export class Reachability {
  #since: number | undefined;

  constructor(private readonly log: Log) {}

  get isDown(): boolean {
    return this.#since !== undefined;
  }

  down(error: unknown): void {
    if (this.#since !== undefined) return;
    this.#since = performance.now();
    this.log.error(
      { err: leavesOf(error)[0] },
      'Kafka is out of reach: no other node can be called. It is tried again until it is back',
    );
  }

  up(): void {
    if (this.#since === undefined) return;
    const seconds = Math.round((performance.now() - this.#since) / 1_000);
    this.#since = undefined;
    this.log.warn(`Kafka can be reached again, after ${seconds} s`);
  }
}
