import type { Service, ServiceBroker } from 'moleculer';
import { configOf } from '../config';
import { closeDatabase, type Database } from '../db/database';
import type { PurgeRule } from '../db/purge-rule';
import { unitTracer } from '../tracing/deliveries';
import type { Carrier, PartitionLag, Subscription } from './carrier';
import { closeCarrier, openCarrier } from './carriers';
import { Connections } from './connections';
import { Consumer, type Counters } from './consumer';
import { type Handler, handlersOf } from './delivery';
import { describeError } from './failures';
import { Lease } from './lease';
import { Loop } from './loop';
import { Outbox } from './outbox';
import { ParkedEvents } from './parked-events';
import { purge } from './purge';
import { Relay } from './relay';
import { FIXED_RETENTION, type Retention } from './retention';
import { OUTBOX, onBell, PARKING } from './wake';

const PURGE_EVERY = 24 * 3_600_000;

export interface HubOptions {
  retention?: Partial<Retention>;
  /** What else the daily purge is to delete from the domain's database. */
  purges?: readonly PurgeRule[];
}

/** What consumes for as long as no service of the domain comes or goes. */
interface Consuming {
  consumer: Consumer;
  parked: ParkedEvents;
  subscription: Subscription | undefined;
  abort: AbortController;
}

/**
 * One domain's end of the event log in this process, shared by its services: the relay of its outbox, and the group that
 * runs the durable handlers of all of them.
 */
export class Hub {
  readonly carrier: Carrier;
  readonly connections: Connections;
  readonly outbox: Outbox;
  readonly relay: Relay;
  readonly retention: Retention;
  readonly counters: Counters = { handled: 0, tombstones: 0, tooOld: 0, republished: 0, repeated: 0, parked: 0, dead: 0 };
  readonly log: ServiceBroker['logger'];
  /** Names of services that have been here; the group does not run without one that is being replaced. */
  readonly #expected = new Set<string>();
  readonly #handlers = new Map<string, Handler[]>();
  readonly #purging = new Loop(() => this.#purgeDaily());
  readonly #ready: Promise<void>;
  #consuming: Consuming | undefined;
  #change: Promise<void> = Promise.resolve();
  #isReady = false;
  #isClosed = false;

  constructor(
    private readonly broker: ServiceBroker,
    readonly database: Database,
    private readonly options: HubOptions,
  ) {
    this.log = broker.getLogger(`events.${database.name}`);
    this.retention = { ...FIXED_RETENTION, ...configOf(broker).retention, ...options.retention };
    this.connections = new Connections(database, error => this.log.warn(`An idle connection was lost: ${error.message}`));
    const lease = new Lease(this.connections, broker.nodeID, reason =>
      this.log.warn(`The lease on the outbox is lost: ${reason}`),
    );
    this.outbox = new Outbox(database.name, this.connections, lease);
    const { carrier, started } = openCarrier(broker);
    this.carrier = carrier;
    this.relay = new Relay(this.outbox, lease, carrier, this.connections, this.log);
    this.#ready = this.#start(started);
    // A database that cannot be made ready ends the process elsewhere.
    this.#ready.catch(error => this.#isClosed || this.log.error(`No events: ${describeError(error)}`));
    broker.localBus.once('$broker.started', () => this.#reconsider());
  }

  get topics(): string[] {
    return [...new Set([...this.#handlers.values()].flat().map(handler => handler.topic))];
  }

  get isConsuming(): boolean {
    return this.#consuming !== undefined;
  }

  /** How far the consumer at work is behind; nothing of what others of its group follow. */
  get lag(): readonly PartitionLag[] {
    return this.#consuming?.subscription?.lag?.() ?? [];
  }

  /** Names of services that the group waits for. */
  get missing(): string[] {
    return [...this.#expected].filter(name => !this.#handlers.has(name));
  }

  /** The consumer at work, for what operators ask of it. */
  get consumer(): Consumer {
    if (!this.#consuming) throw new Error(`${this.database.name} consumes no events at the moment`);
    return this.#consuming.consumer;
  }

  get handlers(): Handler[] {
    return [...this.#handlers.values()].flat();
  }

  /** A service is about to start: its events wait for it. */
  expect(service: Service): void {
    this.#expected.add(service.fullName);
  }

  /** A service has started: its handlers may be called. */
  register(service: Service): void {
    this.#handlers.set(service.fullName, handlersOf(service));
    this.#reconsider();
  }

  /** A service stops; resolves when none of its handlers runs any more. The group waits until it is back. */
  async unregister(service: Service): Promise<void> {
    this.#handlers.delete(service.fullName);
    await this.#reconsider();
  }

  /** Deletes what retention no longer asks for. */
  purge(): Promise<number> {
    const { database, outbox, carrier, retention, log } = this;
    return purge({ url: database.url, outbox, carrier, retention, rules: this.options.purges ?? [], log });
  }

  /** Ends after what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    onBell(this.database, OUTBOX, undefined);
    onBell(this.database, PARKING, undefined);
    await this.#reconsider();
    await this.#purging.stop();
    if (this.#isReady) {
      await this.relay.stop();
      await this.carrier.detach(this.outbox);
    }
    await this.connections.close();
    await closeCarrier(this.broker);
    await closeDatabase(this.broker, this.database);
  }

  async #start(carrierStarted: Promise<void>): Promise<void> {
    await this.database.whenReady();
    await carrierStarted;
    if (this.#isClosed) return;
    await this.carrier.attach(this.outbox);
    if (this.#isClosed) return await this.carrier.detach(this.outbox);
    this.#isReady = true;
    this.#purging.start();
    onBell(this.database, OUTBOX, () => this.relay.wake());
    onBell(this.database, PARKING, () => this.#consuming?.parked.wake());
    this.relay.start(this.database.listener);
    await this.#reconsider();
  }

  /** Begins or ends consuming, one change after the other. */
  #reconsider(): Promise<void> {
    this.#change = this.#change
      .then(async () => {
        await this.#endConsuming();
        if (!this.#isReady || this.#isClosed || !this.broker.started) return;
        if (this.missing.length === 0) this.#beginConsuming();
        else this.log.info(`Events wait for ${this.missing.join(', ')}`);
      })
      .catch(error => this.log.error(`Events are not consumed: ${describeError(error)}`));
    return this.#change;
  }

  #beginConsuming(): void {
    const abort = new AbortController();
    const { connections, handlers, retention, counters, log, carrier } = this;
    const trace = unitTracer(this.broker, this.database.name);
    const shared = { connections, handlers, retention, counters, trace, signal: abort.signal, log };
    const consumer = new Consumer(shared);
    const parked = new ParkedEvents(shared);
    const group = { name: this.database.name, topics: consumer.topics, connections };
    const subscription =
      group.topics.length > 0 ? carrier.subscribe({ ...group, deliver: chunk => consumer.deliver(chunk) }) : undefined;
    this.#consuming = { consumer, parked, subscription, abort };
    parked.start();
  }

  async #endConsuming(): Promise<void> {
    const consuming = this.#consuming;
    this.#consuming = undefined;
    if (!consuming) return;
    consuming.abort.abort(new Error(`${this.database.name} stops consuming`));
    await Promise.all([consuming.subscription?.stop(), consuming.parked.stop()]);
  }

  async #purgeDaily(): Promise<number> {
    await this.purge().catch(error => this.log.warn(`Nothing was purged: ${describeError(error)}`));
    return PURGE_EVERY;
  }
}
