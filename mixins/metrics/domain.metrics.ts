import type { ServiceBroker } from 'moleculer';
import type { Counter, Gauge, Registry } from 'prom-client';
import type { Counters } from '../events/consumer';
import type { Hub } from '../events/hub';
import { listHubs } from '../events/hubs';
import type { Stored } from '../events/stored';
import { lookAtStored } from './stored';

type Library = Pick<typeof import('prom-client'), 'Gauge' | 'Counter'>;

const STORED: { [Field in keyof Stored]: readonly [name: string, help: string] } = {
  unpublished: ['hiver_outbox_unpublished', 'Events in the outbox that have not left'],
  oldestUnpublishedAge: ['hiver_outbox_oldest_seconds', 'For how long the oldest of them has waited; 0 when there is none'],
  refused: ['hiver_outbox_refused', 'Events that the carrier refused'],
  deadLetters: ['hiver_dead_letters', 'Events that handlers failed on for good'],
  parked: ['hiver_parked_events', 'Events that wait for somebody to arrive in the replica'],
};

/** What is measured of each domain of a process when Prometheus asks; between two looks it costs nothing. */
export class DomainMetrics {
  readonly #stored: [field: keyof Stored, gauge: Gauge][];
  readonly #up: Gauge;
  readonly #leader: Gauge;
  readonly #lag: Gauge;
  readonly #connections: Gauge;
  readonly #events: Counter;

  constructor(
    private readonly broker: ServiceBroker,
    { Gauge, Counter }: Library,
    registers: Registry[],
  ) {
    const gauge = (name: string, help: string, labelNames: string[] = []) =>
      new Gauge({ name, help, labelNames: ['domain', ...labelNames], registers });
    this.#stored = Object.entries(STORED).map(([field, [name, help]]) => [field as keyof Stored, gauge(name, help)]);
    this.#up = gauge('hiver_database_up', 'Whether the database answered within 2 s');
    this.#leader = gauge('hiver_relay_leader', 'Whether this process publishes the outbox');
    this.#lag = gauge('hiver_consumer_lag', 'Events that the group has not handled yet, at its last fetch', [
      'topic',
      'partition',
    ]);
    this.#connections = gauge('hiver_pool_connections', 'Connections of a pool, and what waits for one', ['pool', 'state']);
    this.#events = new Counter({
      name: 'hiver_events_total',
      help: 'What became of events since the process started',
      labelNames: ['domain', 'outcome'],
      registers,
    });
  }

  /** Looks at every domain. Never fails, and takes no longer than the slowest database may: one that is frozen is down. */
  async gather(): Promise<void> {
    const hubs = listHubs(this.broker);
    const stored = await Promise.all(hubs.map(lookAtStored));
    // Anew each time: domains, partitions and pools come and go.
    for (const [, gauge] of this.#stored) gauge.reset();
    for (const metric of [this.#up, this.#leader, this.#lag, this.#connections, this.#events]) metric.reset();
    for (const [at, hub] of hubs.entries()) {
      this.#setStored(hub.database.name, stored[at]);
      this.#setInner(hub);
    }
  }

  /** What a database that is down holds is not known: no number is better than an old one. */
  #setStored(domain: string, stored: Stored | undefined): void {
    this.#up.set({ domain }, stored ? 1 : 0);
    if (!stored) return;
    for (const [field, gauge] of this.#stored) gauge.set({ domain }, stored[field]);
  }

  #setInner(hub: Hub): void {
    const domain = hub.database.name;
    this.#leader.set({ domain }, hub.relay.isLeader ? 1 : 0);
    for (const { topic, partition, lag } of hub.lag) this.#lag.set({ domain, topic, partition }, lag);
    for (const { pool, ...states } of [...hub.database.pools, ...hub.connections.pools]) {
      for (const [state, count] of Object.entries(states)) this.#connections.set({ domain, pool, state }, count);
    }
    for (const [outcome, count] of Object.entries(hub.counters satisfies Counters)) {
      this.#events.inc({ domain, outcome: OUTCOMES[outcome as keyof Counters] }, count);
    }
  }
}

const OUTCOMES: { [Counter in keyof Counters]: string } = {
  handled: 'handled',
  tombstones: 'tombstone',
  tooOld: 'too_old',
  republished: 'republished',
  repeated: 'repeated',
  parked: 'parked',
  dead: 'dead',
};
