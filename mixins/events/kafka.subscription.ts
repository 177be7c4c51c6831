import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer, EachBatchPayload, IMemberAssignment, KafkaMessage, RetryOptions } from 'kafkajs';
import { within } from '../within';
import type { Group, PartitionLag, Subscription } from './carrier';
import { type Client, type KafkaConnection, type Log, openClient } from './kafka.client';
import { FirstLook, metadataOf } from './kafka.first-look';
import { chunksOf, toEvent } from './kafka.messages';
import type { Names } from './kafka.names';
import { Positions } from './kafka.positions';
import { isTopicMismatch, PARTITIONS } from './kafka.topics';

/** Milliseconds of silence after which a member is held to be dead, and its partitions go to others. */
const SESSION_TIMEOUT = 6_000;
const HEARTBEAT = 500;
/** Bounds how long a stop takes; a shorter one only keeps an idle process busy. */
const MAX_WAIT = 250;
const MAX_BACKOFF = 5_000;
/** Of a request, within some two seconds. */
const TRIES = 5;
/** What kafkajs takes for the end, and is an outage: no broker could be asked who leads the group, say. */
const PASSING = new Set([
  'KafkaJSGroupCoordinatorNotFound',
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSLockTimeout',
  'KafkaJSTimeout',
]);
/** How long a stop waits for Kafka; members that do not say goodbye are missed after the session's time. */
const STOP_WITHIN = 2_500;

export interface SubscriptionOptions {
  connection: KafkaConnection;
  names: Names;
  group: Group;
  /** Milliseconds; 6 s unless told. */
  sessionTimeout?: number;
  /** Makes sure of the group's topics. */
  ensureTopics: () => Promise<void>;
  /** The consumer has stopped for good. */
  onFatal: (error: Error) => void;
  log: Log;
}

/** One member of a consumer group. It waits for Kafka for as long as it takes. */
export class KafkaSubscription implements Subscription {
  readonly #abort = new AbortController();
  readonly #client: Client;
  readonly #consumer: Consumer;
  #begun: Promise<void>;
  /** Made anew each time the group divides its partitions: what was fetched before is nobody's then. */
  #look: FirstLook | undefined;
  #lookAbort = new AbortController();
  readonly #positions = new Positions();

  constructor(private readonly options: SubscriptionOptions) {
    const { connection, names, group, sessionTimeout = SESSION_TIMEOUT, log } = options;
    const retry = this.#retry();
    this.#client = openClient(connection, log, { retry });
    this.#consumer = this.#client.kafka.consumer({
      groupId: names.group(group.name),
      sessionTimeout,
      rebalanceTimeout: 10_000,
      heartbeatInterval: HEARTBEAT,
      maxWaitTimeInMs: MAX_WAIT,
      minBytes: 1,
      allowAutoTopicCreation: false,
      retry,
    });
    this.#consumer.on(this.#consumer.events.GROUP_JOIN, ({ payload }) => this.#onJoin(payload.memberAssignment));
    this.#consumer.on(this.#consumer.events.CRASH, ({ payload: { error, restart } }) => {
      if (restart) return;
      if (isOutage(error)) this.#begun = this.#begin();
      else this.#fail(error);
    });
    this.#begun = this.#begin();
  }

  lag(): readonly PartitionLag[] {
    return this.#positions.lags(this.options.names.event);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#lookAbort.abort();
    const ended = this.#begun.then(() => this.#consumer.disconnect()).catch(() => undefined);
    await within(STOP_WITHIN, ended, () => undefined);
    this.#client.drop();
  }

  get #isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /**
   * Some tries, then a start from the beginning, and so on through outages of any length: the coordinator of the group is
   * looked for at the start only, and another broker may have become it. Stopped, no longer: kafkajs compares its count
   * with this each time.
   */
  #retry(): RetryOptions {
    const retries = { valueOf: () => (this.#isStopped ? 0 : TRIES) } as unknown as number;
    return { initialRetryTime: 100, maxRetryTime: 1_000, retries, restartOnFailure: async () => !this.#isStopped };
  }

  async #begin(): Promise<void> {
    const { names, group } = this.options;
    try {
      await this.#waitFor(async () => {
        await this.options.ensureTopics();
        await this.#consumer.connect();
        await this.#consumer.subscribe({ topics: group.topics.map(names.topic), fromBeginning: true });
      });
      if (this.#isStopped) return;
      await this.#consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: PARTITIONS,
        eachBatch: payload => this.#onBatch(payload),
      });
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  async #waitFor(work: () => Promise<void>): Promise<void> {
    for (let backoff = 100; !this.#isStopped; backoff = Math.min(backoff * 2, MAX_BACKOFF)) {
      try {
        return await work();
      } catch (error) {
        if (isTopicMismatch(error)) throw error;
        if (backoff === 100) this.options.log.warn(`${this.options.group.name} waits for Kafka: ${(error as Error).message}`);
        await delay(backoff, undefined, { signal: this.#abort.signal, ref: false }).catch(() => undefined);
      }
    }
  }

  #fail(error: Error): void {
    if (!this.#isStopped) this.options.onFatal(error);
  }

  #onJoin(assignment: IMemberAssignment): void {
    this.#lookAbort.abort();
    this.#lookAbort = new AbortController();
    this.#positions.keep(assignment);
    if (this.#isStopped) return;
    const groupId = this.options.names.group(this.options.group.name);
    const { signal } = this.#lookAbort;
    this.#look = new FirstLook({ client: this.#client, consumer: this.#consumer, groupId, assignment, signal });
  }

  async #onBatch(payload: EachBatchPayload): Promise<void> {
    const { topic, partition, messages } = payload.batch;
    const look = this.#look;
    // Aborted when the partitions are divided anew: then this is fetched again, here or elsewhere.
    const firstEnd = await look?.endOf(topic, partition).catch(() => undefined);
    if (firstEnd === undefined) return;
    this.#positions.fetched(payload.batch);
    for (const chunk of chunksOf(messages)) {
      if (this.#isStopped || look !== this.#look || !payload.isRunning() || payload.isStale()) return;
      const isDelivered = await this.#deliver(payload, chunk, firstEnd);
      if (!isDelivered || look !== this.#look) return;
      await this.#commit(payload, chunk, firstEnd);
      await payload.heartbeat();
    }
  }

  /** Returns whether all of it was brought about. */
  async #deliver({ batch, heartbeat }: EachBatchPayload, chunk: readonly KafkaMessage[], firstEnd: number): Promise<boolean> {
    const { group, names } = this.options;
    const events = chunk.map(message => toEvent(names.event(batch.topic), batch.partition, message, firstEnd));
    // While the group's database is away a chunk takes long, and who is silent is held to be dead. That the partitions
    // are divided anew is said again by the heartbeat that follows the chunk.
    const beat = () => heartbeat().catch(() => undefined);
    const beating = setInterval(beat, HEARTBEAT);
    try {
      await group.deliver({ events, heartbeat: beat });
      return true;
    } catch (error) {
      if (this.#isStopped) return false;
      throw error;
    } finally {
      clearInterval(beating);
    }
  }

  async #commit(payload: EachBatchPayload, chunk: readonly KafkaMessage[], firstEnd: number): Promise<void> {
    const { topic, partition } = payload.batch;
    const last = chunk.at(-1);
    if (!last) return;
    const next = Number(last.offset) + 1;
    const metadata = next < firstEnd ? metadataOf(firstEnd) : null;
    payload.resolveOffset(last.offset);
    const partitions = [{ partition, offset: String(next), metadata }];
    await payload.commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
    this.#positions.handled(payload.batch, next);
  }
}

/** Looks through what kafkajs wraps: it says of an error that it does not try again, whatever is inside. */
function isOutage(error: Error): boolean {
  if (PASSING.has(error.name)) return true;
  return error.cause instanceof Error && isOutage(error.cause);
}
