import type { ServiceBroker } from 'moleculer';
import type { Listener } from '../db/listener';
import { statement } from '../db/statement';
import type { Carrier } from './carrier';
import type { Connections } from './connections';
import type { Lease } from './lease';
import { Loop } from './loop';
import { isLeaseLost, type Outbox } from './outbox';

const CHANNEL = 'hiver_outbox';
const RECORDED = 'recorded';
const RELEASED = 'released';
/** Milliseconds between looks when nothing wakes it. */
const POLL = 1_000;
/** Least milliseconds between two batches that were woken for. */
const GAP = 5;
const MAX_BACKOFF = 5_000;

const notify = statement<{ payload: string }>('events.notify', `select pg_notify('${CHANNEL}', $payload)`);

/**
 * Moves what is in an outbox to the carrier. Of all the relays of a database, in whatever process, the one that holds
 * the lease works; the others tell it, by NOTIFY, when something was recorded beside them.
 */
export class Relay {
  readonly #loop = new Loop(() => this.#work(), GAP);
  // After the commit and not within it: a NOTIFY in a transaction takes a lock at commit that all others wait for.
  readonly #notifier = new Loop(() => this.#notify(RECORDED), GAP);
  #unlisten: (() => void) | undefined;
  #backoff = 0;

  constructor(
    private readonly outbox: Outbox,
    private readonly lease: Lease,
    private readonly carrier: Carrier,
    private readonly connections: Connections,
    private readonly log: Pick<ServiceBroker['logger'], 'info' | 'warn'>,
  ) {}

  get isLeader(): boolean {
    return this.lease.isHeld;
  }

  start(listener: Listener): void {
    this.#unlisten = listener.on(CHANNEL, payload => {
      if (payload !== RECORDED || this.lease.isHeld) this.#loop.wake();
    });
    this.#loop.start();
    this.#notifier.start({ isAsleep: true });
  }

  /** There is something in the outbox. */
  wake(): void {
    if (this.lease.isHeld) this.#loop.wake();
    else this.#notifier.wake();
  }

  /** Ends after the batch that is under way, and lets another relay go on at once. */
  async stop(): Promise<void> {
    this.#unlisten?.();
    await Promise.all([this.#loop.stop(), this.#notifier.stop()]);
    if (!this.lease.isHeld) return;
    try {
      await this.lease.release();
      await this.#notify(RELEASED);
    } catch (error) {
      this.log.warn(`The lease on the outbox of ${this.outbox.name} runs out by itself: ${(error as Error).message}`);
    }
  }

  async #work(): Promise<number> {
    try {
      if (!this.lease.isHeld && !(await this.lease.acquire())) return POLL;
      const wait = this.carrier.isFencedByDatabase ? 0 : this.lease.waitBeforeSending;
      if (wait > 0) return wait;
      const isMore = await this.carrier.publish(this.outbox);
      if (this.#backoff > 0) this.log.info(`The outbox of ${this.outbox.name} is published again`);
      this.#backoff = 0;
      return isMore ? 0 : POLL;
    } catch (error) {
      if (isLeaseLost(error)) this.lease.drop();
      if (this.#backoff === 0) this.log.warn(`The outbox of ${this.outbox.name} is not published: ${(error as Error).message}`);
      this.#backoff = Math.min(Math.max(100, this.#backoff * 2), MAX_BACKOFF);
      return this.#backoff;
    }
  }

  async #notify(payload: string): Promise<number> {
    // Whoever misses it looks each second.
    await notify.all(this.connections, { payload }).catch(() => undefined);
    return Number.POSITIVE_INFINITY;
  }
}
