import { randomUUID } from 'node:crypto';
import { statement } from '../db/statement';
import type { Connections } from './connections';

/** How long a lease lasts unless it is renewed, in milliseconds. */
export const LEASE = 5_000;
const RENEW_EVERY = 1_000;

const acquire = statement<{ owner: string; node: string; lease: number }, { epoch: number; isTakenOver: boolean }>(
  'events.lease.acquire',
  `update relay_lease
   set owner = $owner, node = $node, epoch = epoch + 1,
     expires_at = clock_timestamp() + $lease * interval '1 millisecond'
   where owner is null or owner = $owner or expires_at < clock_timestamp()
   returning epoch, old.owner is not null and old.owner <> $owner as "isTakenOver"`,
);

const renew = statement<{ owner: string; epoch: number; lease: number }, { epoch: number }>(
  'events.lease.renew',
  `update relay_lease set expires_at = clock_timestamp() + $lease * interval '1 millisecond'
   where owner = $owner and epoch = $epoch
   returning epoch`,
);

const release = statement<{ owner: string; epoch: number }, { epoch: number }>(
  'events.lease.release',
  'update relay_lease set owner = null where owner = $owner and epoch = $epoch returning epoch',
);

/**
 * The right to publish what is in an outbox: a row of its database, so that one relay at a time has it. It runs out by
 * the database's clock when its holder dies; the holder counts by its own monotonic clock, from before it asked.
 */
export class Lease {
  readonly owner = randomUUID();
  #epoch = 0;
  #validUntil = 0;
  #waitUntil = 0;
  #renewal: NodeJS.Timeout | undefined;

  constructor(
    private readonly connections: Connections,
    /** Name of the process, for people. */
    private readonly node: string,
    private readonly onLost: (reason: string) => void,
  ) {}

  get isHeld(): boolean {
    return performance.now() < this.#validUntil;
  }

  /**
   * Milliseconds that a new holder still has to wait before it may send: the one before it may have a send under way,
   * unless it gave the lease back.
   */
  get waitBeforeSending(): number {
    return Math.max(0, this.#waitUntil - performance.now());
  }

  /** What makes a statement take effect only while the lease is held. */
  fence(): { owner: string; epoch: number } {
    return { owner: this.owner, epoch: this.#epoch };
  }

  /** Takes the lease if it is free; returns whether it is held then. */
  async acquire(): Promise<boolean> {
    const asked = performance.now();
    const taken = await acquire.maybe(this.connections, { owner: this.owner, node: this.node, lease: LEASE });
    if (!taken) return false;
    this.#epoch = taken.epoch;
    this.#validUntil = asked + LEASE;
    this.#waitUntil = taken.isTakenOver ? performance.now() + LEASE : 0;
    clearInterval(this.#renewal);
    this.#renewal = setInterval(() => void this.#renew(), RENEW_EVERY);
    return true;
  }

  /** Gives the lease back: the next holder need not wait. Nothing may be under way any more. */
  async release(): Promise<void> {
    this.drop();
    await release.all(this.connections, this.fence());
  }

  /** Stops counting on it. */
  drop(): void {
    clearInterval(this.#renewal);
    this.#validUntil = 0;
  }

  async #renew(): Promise<void> {
    const epoch = this.#epoch;
    const asked = performance.now();
    try {
      const renewed = await renew.maybe(this.connections, { owner: this.owner, epoch, lease: LEASE });
      if (epoch !== this.#epoch) return;
      if (renewed) this.#validUntil = asked + LEASE;
      else this.#lose('it was taken over');
    } catch (error) {
      // It may hold until it runs out; the next renewal tries again.
      if (!this.isHeld) this.#lose((error as Error).message);
    }
  }

  #lose(reason: string): void {
    this.drop();
    this.onLost(reason);
  }
}
