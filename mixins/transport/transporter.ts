import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Admin, Consumer, MessagesStream, Producer } from '@platformatic/kafka';
import { Transporters } from 'moleculer';
import { commonProblems } from '../errors';
import { within } from '../within';
import { leavesOf, outOfReach } from './errors';
import { connectionOptions, type TransportConnection, transporterOptions } from './options';
import { Reachability } from './reachability';
import { ensureTopics } from './topics';

type Stream = MessagesStream<Buffer, Buffer, Buffer, Buffer>;
type Packet = Parameters<Transporters.Kafka['prepublish']>[0];
type Subscription = { cmd: string; nodeID?: string };

/** Milliseconds between two tries to reach Kafka. */
const RETRY = 500;
/** Milliseconds that the end of a node waits for Kafka, at each of its steps. */
const PATIENCE = 700;
/** Heartbeats that Kafka took and this node, which follows them too, did not get back: 30 s. */
const MOST_UNHEARD = 15;
/** Somebody waits for the outcome of these. All others are told again, or may be lost. */
const AWAITED: ReadonlySet<string> = new Set(['REQ', 'RES']);

/**
 * Moleculer's Kafka transporter, for nodes that live longer than their Kafka does: it waits for Kafka, survives outages,
 * makes its topics with a retention of their own, leaves no offsets behind, and ends soon when it is told to. When it can
 * hear nothing any more for good the process ends, to be started again.
 */
export class MeshTransporter extends Transporters.Kafka {
  declare producer: Producer<Buffer, Buffer, Buffer, Buffer> | null;
  declare consumer: Consumer<Buffer, Buffer, Buffer, Buffer> | null;
  declare admin: Admin | null;
  declare consumerStream: Stream | null;
  readonly #connection: TransportConnection;
  readonly #sending = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #reachability: Reachability | undefined;
  #unheard = 0;

  constructor(connection: TransportConnection) {
    super(transporterOptions(connection));
    this.#connection = connection;
  }

  override init(...args: Parameters<Transporters.Kafka['init']>): void {
    super.init(...args);
    this.#reachability = new Reachability(this.logger);
  }

  /** Resolves when other nodes can be talked to, however long that takes. Moleculer calls it again when it fails. */
  override async connect(): Promise<void> {
    this.connected = false;
    // Of a try that got half-way.
    await this.#closeClients();
    await this.#reach();
    await super.connect();
  }

  async #reach(): Promise<void> {
    const { Admin } = await import('@platformatic/kafka');
    for (;;) {
      this.#closing.signal.throwIfAborted();
      const admin = new Admin({ ...connectionOptions(this.#connection), retries: 0 });
      try {
        await admin.metadata({ topics: [] });
        return this.#reachability?.up();
      } catch (error) {
        this.#reachability?.down(error);
      } finally {
        await admin.close().catch(() => undefined);
      }
      await delay(RETRY, undefined, { signal: this.#closing.signal });
    }
  }

  override async makeSubscriptions(subscriptions: Subscription[]): Promise<void> {
    const { Consumer } = await import('@platformatic/kafka');
    const topics = subscriptions.map(({ cmd, nodeID }) => this.getTopicName(cmd, nodeID));
    if (!this.admin) throw new Error('The transporter is closed');
    await ensureTopics(this.admin, topics, this.logger);
    // A group of its own for each start: what was said before is not for this process.
    const groupId = `hiver.${this.nodeID}.${this.broker.instanceID}`;
    this.consumer = new Consumer({ ...transporterOptions(this.#connection).consumer, groupId });
    // Without a listener it would be thrown; what it means for the stream is told by the stream.
    this.consumer.on('error', error =>
      this.logger.warn({ err: leavesOf(error)[0] }, 'A member of a Kafka group has difficulties'),
    );
    const stream = await this.consumer.consume({ topics, autocommit: false });
    this.consumerStream = stream;
    stream.on('data', message => this.#hear(message));
    // Until it knows where each topic ends, what is said there is lost.
    await once(stream, 'offsets');
    stream.on('error', error => this.#lose(error));
    stream.on('close', () => this.#lose(new Error('The stream was closed')));
  }

  #hear({ topic, value }: { topic: string; value: Buffer }): void {
    this.#unheard = 0;
    const [, kind = ''] = topic.split('.');
    Promise.resolve(this.receive(kind, value)).catch(error => this.logger.error({ err: error }, `A packet failed: ${kind}`));
  }

  /** A packet that cannot be sent is an error for whoever called, and silence for whoever only signalled. */
  override async prepublish(packet: Packet): Promise<void> {
    if (!this.connected && packet.type === 'EVENT') return;
    if (!this.connected && packet.type === 'REQ') throw outOfReach();
    await super.prepublish(packet);
  }

  override async send(topic: string, data: Buffer, { packet }: { packet: Packet }): Promise<void> {
    // Others forget this node at once: it comes after what they still wait for.
    if (packet.type === 'DISCONNECT') await isDoneWithin(this.#patience, this.#sent());
    const sending = this.#send(topic, data);
    this.#sending.add(sending);
    const sent = sending.finally(() => this.#sending.delete(sending));
    if (AWAITED.has(packet.type)) return sent;
    const isTaken = await isDoneWithin(this.#patience, sent);
    if (isTaken && packet.type === 'HEARTBEAT' && ++this.#unheard > MOST_UNHEARD) {
      this.#lose(new Error('What Kafka takes from this node does not come back to it'));
    }
  }

  async #send(topic: string, data: Buffer): Promise<void> {
    if (!this.producer) throw outOfReach();
    try {
      await this.producer.send({ messages: [{ topic, value: data, partition: 0 }], ...this.opts.publish });
    } catch (error) {
      if (leavesOf(error).some(({ apiId }) => apiId === 'MESSAGE_TOO_LARGE')) throw commonProblems.BODY_TOO_LARGE();
      this.#reachability?.down(error);
      throw outOfReach();
    }
    this.#reachability?.up();
  }

  async #sent(): Promise<void> {
    if (this.#sending.size === 0) return;
    await Promise.allSettled(this.#sending);
    // Answers and the farewell are read from different topics.
    await delay(50);
  }

  /** Who knows that Kafka is away does not wait for it. */
  get #patience(): number {
    return this.#reachability?.isDown ? 0 : PATIENCE;
  }

  /** Nothing is heard any more, and nothing would bring it back: only a new process does. */
  #lose(error: Error): void {
    if (this.#closing.signal.aborted || !this.transit.connected) return;
    const message = `This node cannot hear the others any more, and ends to be started again: ${leavesOf(error)[0]?.message}`;
    this.broker.fatal(message, error, true);
  }

  override async disconnect(): Promise<void> {
    this.#closing.abort();
    this.connected = false;
    await isDoneWithin(this.#patience, this.#sent());
    await isDoneWithin(PATIENCE, this.#closeClients());
  }

  async #closeClients(): Promise<void> {
    const { consumer, producer, admin } = this;
    this.consumer = null;
    this.consumerStream = null;
    this.producer = null;
    this.admin = null;
    await Promise.allSettled([consumer?.close(true), producer?.close(), admin?.close()]);
  }
}

/** Waits at most so many milliseconds; gives whether it went well by then. */
function isDoneWithin(time: number, work: Promise<unknown>): Promise<boolean> {
  const isDone = work.then(
    () => true,
    () => false,
  );
  return within(time, isDone, () => false);
}
