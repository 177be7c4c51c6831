import type { CarriedEvent, Carrier, Group, Lag, Subscription } from './carrier';
import { declaredTopics, type EventKind } from './event';
import type { KafkaConnection, Log } from './kafka.client';
import { lagOf } from './kafka.lag';
import { type Names, namesWith } from './kafka.names';
import { replayTopics } from './kafka.replay';
import { KafkaSender } from './kafka.sender';
import { KafkaSubscription } from './kafka.subscription';
import { isTopicMismatch, Topics } from './kafka.topics';
import { Loop } from './loop';
import type { Outbox, OutboxRow } from './outbox';
import { sendNext } from './sending';

const MAX_BACKOFF = 5_000;

export interface KafkaCarrierOptions {
  connection: KafkaConnection;
  /** Stands before the names of topics and groups. */
  prefix?: string;
  /** Milliseconds of silence after which a member of a group is held to be dead; 6 s unless told. */
  sessionTimeout?: number;
  /** Something is wrong that does not pass by itself: the process is to end, so that somebody looks at it. */
  onFatal: (error: Error) => void;
  log: Log;
}

/**
 * Carries events by Kafka topics, one for each event. A cluster that is out of reach, at the start too, is waited for:
 * outboxes keep what is recorded meanwhile.
 */
export class KafkaCarrier implements Carrier {
  readonly name = 'kafka';
  readonly isFencedByDatabase = false;
  readonly #names: Names;
  readonly #topics: Topics;
  readonly #senders = new Map<Outbox, KafkaSender>();
  readonly #preparing = new Loop(() => this.#prepare());
  #backoff = 0;

  constructor(private readonly options: KafkaCarrierOptions) {
    this.#names = namesWith(options.prefix);
    this.#topics = new Topics(options.connection, options.log);
  }

  async start(): Promise<void> {
    this.#preparing.start();
  }

  async stop(): Promise<void> {
    await this.#preparing.stop();
  }

  async attach(outbox: Outbox): Promise<void> {
    const { connection, log } = this.options;
    this.#senders.set(outbox, new KafkaSender(connection, this.#names.topic, log));
  }

  async detach(outbox: Outbox): Promise<void> {
    this.#senders.get(outbox)?.drop();
    this.#senders.delete(outbox);
  }

  async publish(outbox: Outbox): Promise<boolean> {
    const sender = this.#senders.get(outbox);
    if (!sender) throw new Error(`The outbox of ${outbox.name} is not attached`);
    // Before the lease is looked at: what comes after that has to end within it.
    await sender.connect();
    return await sendNext(outbox, rows => this.#send(outbox, sender, rows), this.options.log);
  }

  subscribe(group: Group): Subscription {
    const { connection, sessionTimeout, onFatal, log } = this.options;
    const ensureTopics = () => this.#ensure(kindsOf(group.topics));
    return new KafkaSubscription({ connection, names: this.#names, group, sessionTimeout, ensureTopics, onFatal, log });
  }

  async replay(topics: readonly string[], deliver: (events: readonly CarriedEvent[]) => Promise<void>): Promise<void> {
    const { connection, log } = this.options;
    await this.#ensure(kindsOf(topics));
    await replayTopics({ connection, names: this.#names, topics, deliver, log });
  }

  lag(group: Pick<Group, 'name' | 'topics'>): Promise<Lag[]> {
    const { connection, log } = this.options;
    return lagOf(group, { connection, names: this.#names, log });
  }

  async #send(outbox: Outbox, sender: KafkaSender, rows: readonly OutboxRow[]): Promise<void> {
    // Only those of the batch: a process may not be allowed to see topics that others publish to. An older version may
    // have recorded events that this one has no contract of.
    const declared = declaredTopics();
    await this.#ensure(
      new Map(rows.map(({ topic, compacted }) => [topic, declared.get(topic) ?? (compacted ? 'state' : 'fact')])),
    );
    // That may have taken a while.
    outbox.assertLeads();
    await sender.send(rows);
  }

  /** Makes every topic that this process knows, also those that nothing is published to yet. */
  async #prepare(): Promise<number> {
    try {
      await this.#ensure(declaredTopics());
      if (this.#backoff > 0) this.options.log.info('Kafka is there');
      return Number.POSITIVE_INFINITY;
    } catch (error) {
      if (this.#backoff === 0) this.options.log.warn(`Kafka is out of reach: ${(error as Error).message}`);
      this.#backoff = Math.min(Math.max(100, this.#backoff * 2), MAX_BACKOFF);
      return this.#backoff;
    }
  }

  async #ensure(kinds: ReadonlyMap<string, EventKind>): Promise<void> {
    try {
      await this.#topics.ensure(new Map([...kinds].map(([event, kind]) => [this.#names.topic(event), kind])));
    } catch (error) {
      if (isTopicMismatch(error)) this.options.onFatal(error as Error);
      throw error;
    }
  }
}

function kindsOf(topics: readonly string[]): Map<string, EventKind> {
  const declared = declaredTopics();
  return new Map(topics.map(topic => [topic, declared.get(topic) ?? 'fact']));
}
