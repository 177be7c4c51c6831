import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceBroker } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import type { Database } from '../../mixins/db/database';
import { isUnavailable } from '../../mixins/db/errors';
import { claimDeliveries, type DueDelivery, renewClaims, settleDelivery } from './deliveries.queries';
import { backoff, type Outcome, settle } from './deliveries.rules';

/** How long after a crash another instance may go on with what the dead one had claimed. */
const LEASE_SECONDS = 10;
const POLL = 1_000;
const MAX_PAUSE_SECONDS = 30;
/** What is being sent while the node stops has this long to end by itself, and then again to be noted; milliseconds. */
const GRACE = 1_000;

interface Options {
  db: Database;
  log: Pick<ServiceBroker['logger'], 'info' | 'warn' | 'error'>;
  /** Messages on their way at once. */
  concurrency: number;
  /** Tries one; whatever it throws counts as a refusal for now. */
  deliver: (due: DueDelivery) => Promise<Outcome>;
  /** Makes what is still being sent fail. */
  abort: () => void;
}

/**
 * Sends what is due, shared by all instances of the domain. A claim is renewed while the sending lasts: after a crash
 * it runs out, so nothing is lost, and what the server had accepted before the crash goes out again under the same id.
 */
export class DeliveryJob {
  readonly #owner = uuidv7();
  readonly #options: Options;
  readonly #active = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  /** Tries in a row that did not reach the server, and until when nothing more is tried. */
  #failures = 0;
  #pausedUntil = 0;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    const renew = () => this.#renew();
    this.#timers.push(setInterval(() => this.wake(), POLL).unref(), setInterval(renew, (LEASE_SECONDS * 1_000) / 3).unref());
    this.wake();
  }

  /** There may be something to send: looks at once, and again if it was looking already. */
  wake(): void {
    this.#lookAgain = true;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
      if (this.#lookAgain) this.wake();
    });
  }

  /** Takes nothing more, waits a little for what is being sent, and notes how it ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearInterval(timer);
    const inTime = (work: Promise<unknown> | undefined) => Promise.race([work, delay(GRACE, undefined, { ref: false })]);
    await inTime(this.#looking);
    await inTime(Promise.allSettled(this.#active));
    this.#options.abort();
    await inTime(Promise.allSettled(this.#active));
  }

  async #look(): Promise<void> {
    try {
      while (this.#lookAgain) {
        this.#lookAgain = false;
        const free = this.#capacity() - this.#active.size;
        if (free <= 0) break;
        const claim = { owner: this.#owner, limit: free, leaseSeconds: LEASE_SECONDS };
        for (const due of await claimDeliveries(this.#options.db, claim)) this.#begin(due);
      }
    } catch (error) {
      if (!isUnavailable(error)) this.#options.log.error('Looking for what is to be sent failed', error);
    }
  }

  /** One at a time while the server does not answer, and none while pausing: an outage is not of one message's making. */
  #capacity(): number {
    if (this.#stopping.signal.aborted || !this.#options.db.isReady || Date.now() < this.#pausedUntil) return 0;
    return this.#failures > 0 ? 1 : this.#options.concurrency;
  }

  #begin(due: DueDelivery): void {
    const trying = this.#try(due).finally(() => {
      this.#active.delete(trying);
      this.wake();
    });
    this.#active.add(trying);
  }

  async #try(due: DueDelivery): Promise<void> {
    const outcome = await this.#deliver(due);
    const settlement = settle(outcome, due, Math.random());
    const noted = await this.#persist(() =>
      settleDelivery.all(this.#options.db, { ...settlement, id: due.id, owner: this.#owner }),
    );
    if (!noted || outcome.result === 'WAITING') return;
    const what = `${due.channel} ${due.kind} of notification ${due.notificationId}: ${settlement.status}`;
    if (settlement.status === 'SENT') this.#options.log.info(what);
    else if (settlement.reason) this.#options.log.info(`${what}, ${settlement.reason}`);
    else this.#options.log.warn(`${what}, ${settlement.error}`);
  }

  async #deliver(due: DueDelivery): Promise<Outcome> {
    try {
      const outcome = await this.#options.deliver(due);
      this.#learn(outcome);
      return outcome;
    } catch (error) {
      this.#options.log.error(`Delivery ${due.id} of ${due.kind} could not be made`, error);
      return { result: 'DEFERRED', error: (error as Error).message };
    }
  }

  #learn({ result }: Outcome): void {
    if (result === 'SENT' || result === 'DEFERRED' || result === 'REJECTED') this.#failures = 0;
    // Those that were under way together fail together: they are one failure.
    if (result !== 'UNREACHABLE' || Date.now() < this.#pausedUntil) return;
    this.#failures++;
    const pause = backoff(0.5, this.#failures, MAX_PAUSE_SECONDS, Math.random()) * 1_000;
    this.#pausedUntil = Date.now() + pause;
    setTimeout(() => this.wake(), pause + 1).unref();
  }

  #renew(): void {
    if (this.#active.size === 0) return;
    renewClaims.all(this.#options.db, { owner: this.#owner, leaseSeconds: LEASE_SECONDS }).catch(() => undefined);
  }

  /** What was sent must be noted, or it goes out twice: tries until the database answers or the node stops. */
  async #persist(note: () => Promise<unknown>): Promise<boolean> {
    for (let wait = 100; ; wait = Math.min(wait * 2, 5_000)) {
      try {
        await note();
        return true;
      } catch (error) {
        if (!isUnavailable(error)) this.#options.log.error('What became of a delivery could not be noted', error);
        if (!isUnavailable(error) || this.#stopping.signal.aborted) return false;
        await delay(wait, undefined, { ref: false, signal: this.#stopping.signal }).catch(() => undefined);
      }
    }
  }
}
