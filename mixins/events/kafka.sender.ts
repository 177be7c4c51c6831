import type { Message, Producer } from 'kafkajs';
import { within } from '../within';
import { type Client, type KafkaConnection, kafkajs, type Log, openClient, rootOf } from './kafka.client';
import { LEASE } from './lease';
import type { OutboxRow } from './outbox';
import { refusedByCarrier } from './sending';

/** A send ends, one way or the other, before another relay may send: that waits a whole lease. */
const SEND_WITHIN = LEASE - 1_000;
/** What the broker may take of it, waiting for replicas. */
const ACKNOWLEDGE_WITHIN = 3_000;

/** What Kafka says of records that it will never take, however often they are sent. */
const REFUSALS = new Set([
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
  'INVALID_TOPIC_EXCEPTION',
]);

interface Connected {
  client: Client;
  producer: Producer;
}

/**
 * Sends the batches of one outbox, one after the other. It does not try again by itself: whoever sends looks at the lease
 * and at what is still unpublished before each try.
 */
export class KafkaSender {
  #connected: Connected | undefined;

  constructor(
    private readonly connection: KafkaConnection,
    private readonly nameOf: (topic: string) => string,
    private readonly log: Log,
  ) {}

  /** Connects to one of the brokers: whichever is asked first may be down while the cluster is well. */
  async connect(): Promise<void> {
    for (let left = this.connection.brokers.length; !this.#connected; left--) {
      try {
        await this.#connect();
      } catch (error) {
        if (left <= 1) throw error;
      }
    }
  }

  async #connect(): Promise<void> {
    const client = openClient(this.connection, this.log, {
      retry: { initialRetryTime: 50, retries: 0 },
      requestTimeout: ACKNOWLEDGE_WITHIN + 500,
    });
    const producer = client.kafka.producer({
      // Never idempotent: kafkajs rolls its sequence back after a failed request, and the broker then takes the next
      // batch for one that it has, acknowledges it and does not store it. Doubles are dropped by the inbox.
      idempotent: false,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: kafkajs().Partitioners.DefaultPartitioner,
    });
    try {
      await answered(producer.connect());
    } catch (error) {
      client.drop();
      throw error;
    }
    this.#connected = { client, producer };
  }

  /**
   * Resolves when every replica that is in sync has the rows. After a failure the connection is gone, and with it what
   * was still to leave.
   * @throws `refusedByCarrier`, or whatever may pass by itself
   */
  async send(rows: readonly OutboxRow[]): Promise<void> {
    try {
      await answered(this.#send(rows));
    } catch (error) {
      const root = rootOf(error);
      if (REFUSALS.has(root.type ?? '')) throw refusedByCarrier(root.message);
      this.drop();
      throw error;
    }
  }

  /** Ends the connection at once. */
  drop(): void {
    const connected = this.#connected;
    this.#connected = undefined;
    connected?.client.drop();
    connected?.producer.disconnect().catch(() => undefined);
  }

  async #send(rows: readonly OutboxRow[]): Promise<void> {
    if (!this.#connected) throw new Error('There is no connection to Kafka');
    const topics = Map.groupBy(rows, row => row.topic);
    const topicMessages = [...topics].map(([topic, ofTopic]) => ({
      topic: this.nameOf(topic),
      messages: ofTopic.map(toMessage),
    }));
    await this.#connected.producer.sendBatch({ topicMessages, acks: -1, timeout: ACKNOWLEDGE_WITHIN });
  }
}

/** CloudEvents' Kafka binding, structured mode. A tombstone has no content. */
function toMessage({ key, envelope }: OutboxRow): Message {
  return envelope === null
    ? { key, value: null }
    : { key, value: envelope, headers: { 'content-type': 'application/cloudevents+json' } };
}

function answered<T>(work: Promise<T>): Promise<T> {
  return within(SEND_WITHIN, work, (): never => {
    throw new Error(`Kafka has not answered within ${SEND_WITHIN} ms`);
  });
}
