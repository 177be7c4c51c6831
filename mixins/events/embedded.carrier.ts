import type { ServiceBroker } from 'moleculer';
import type { CarriedEvent, Carrier, Group, Lag, Subscription } from './carrier';
import { Reader, toEvent } from './embedded.reader';
import { Loop } from './loop';
import { readPositions } from './offsets';
import type { LogState, Outbox } from './outbox';

/** Milliseconds between looks at a log that another process may have published to. */
const LOOK_EVERY = 1_000;

type Log = Pick<ServiceBroker['logger'], 'info' | 'warn'>;

interface AttachedLog {
  outbox: Outbox;
  watch: Loop;
}

/**
 * Carries events without a broker: each outbox is itself the log, in which the relay gives every row its position, and
 * each group reads the outboxes of its process by position.
 */
export class EmbeddedCarrier implements Carrier {
  readonly name = 'embedded';
  readonly isFencedByDatabase = true;
  readonly #logs = new Map<Outbox, AttachedLog>();
  readonly #readers = new Map<Group, Map<Outbox, Reader>>();

  constructor(private readonly log: Log) {}

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async attach(outbox: Outbox): Promise<void> {
    const attached: AttachedLog = { outbox, watch: new Loop(() => this.#look(attached)) };
    this.#logs.set(outbox, attached);
    for (const [group, readers] of this.#readers) this.#read(group, outbox, readers);
    attached.watch.start();
  }

  async detach(outbox: Outbox): Promise<void> {
    const attached = this.#logs.get(outbox);
    this.#logs.delete(outbox);
    const readers = [...this.#readers.values()].map(ofGroup => {
      const reader = ofGroup.get(outbox);
      ofGroup.delete(outbox);
      return reader;
    });
    await Promise.all([attached?.watch.stop(), ...readers.map(reader => reader?.stop())]);
  }

  async publish(outbox: Outbox): Promise<boolean> {
    const { isMore, ...state } = await outbox.stamp();
    const attached = this.#logs.get(outbox);
    if (attached) this.#tell(attached, state);
    return isMore;
  }

  subscribe(group: Group): Subscription {
    const readers = new Map<Outbox, Reader>();
    this.#readers.set(group, readers);
    for (const outbox of this.#logs.keys()) this.#read(group, outbox, readers);
    return {
      // A log has one partition, and is named as the domain that it is of.
      lag: () => [...readers].map(([{ name }, { lag }]) => ({ topic: name, partition: 0, lag })),
      stop: async () => {
        this.#readers.delete(group);
        await Promise.all([...readers.values()].map(reader => reader.stop()));
      },
    };
  }

  async replay(topics: readonly string[], deliver: (events: readonly CarriedEvent[]) => Promise<void>): Promise<void> {
    for (const outbox of this.#logs.keys()) {
      const { end } = await outbox.state();
      for (let after = 0; after < end; ) {
        const rows = await outbox.page(after, topics);
        const wanted = rows.filter(row => row.isWanted && row.position <= end);
        if (wanted.length > 0) await deliver(wanted.map(row => toEvent(outbox.name, row)));
        after = rows.at(-1)?.position ?? end;
      }
    }
  }

  async readByAll(outbox: Outbox): Promise<number | undefined> {
    await Promise.all([...this.#readers.values()].map(readers => readers.get(outbox)?.report()));
    return outbox.readByAll();
  }

  async lag({ topics, connections }: Pick<Group, 'topics' | 'connections'>): Promise<Lag[]> {
    const ofLogs = [...this.#logs.keys()].map(async outbox => {
      const log = await outbox.state();
      const positions = await readPositions(connections, outbox.name, log, topics);
      const waiting = await outbox.countAfter(positions);
      return [...positions].map(([topic, position]) => ({
        place: `${outbox.name}/${topic}`,
        position,
        end: log.end,
        lag: waiting.get(topic) ?? 0,
      }));
    });
    return (await Promise.all(ofLogs)).flat();
  }

  #read(group: Group, outbox: Outbox, readers: Map<Outbox, Reader>): void {
    const reader = new Reader(outbox, group, this.log);
    readers.set(outbox, reader);
    reader.start();
  }

  async #look(attached: AttachedLog): Promise<number> {
    try {
      this.#tell(attached, await attached.outbox.state());
    } catch {
      // The relay of the same database says that it is out of reach.
    }
    return LOOK_EVERY;
  }

  /** Also when there is nothing new: a reader that missed something goes on at the next look. */
  #tell({ outbox }: AttachedLog, { logId, end }: LogState): void {
    for (const readers of this.#readers.values()) readers.get(outbox)?.wake({ logId, end });
  }
}
