import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceBroker } from 'moleculer';
import type { Transaction } from '../db/transaction';
import type { TraceUnits } from '../tracing/deliveries';
import { type CarriedEvent, type Chunk, isOffsetMoved } from './carrier';
import type { Connections } from './connections';
import { bury } from './dead-letters';
import { carryOut, type Handler, type Unit } from './delivery';
import type { Envelope } from './event';
import { describeError, persist } from './failures';
import { park } from './parking';
import { isUnknownPerson } from './reaction';
import type { Retention } from './retention';

/** Tries of an event by itself before it is given up. */
export const MAX_TRIES = 5;
/** Milliseconds before the second try; twice as many before each one after it. */
const FIRST_PAUSE = 50;

/** What became of events since the process started. */
export interface Counters {
  handled: number;
  tombstones: number;
  /** Reactions that were left out because their event was too old. */
  tooOld: number;
  /** Reactions that were left out because the state was only told once more. */
  republished: number;
  /** Reactions that were left out because they happened before the database was emptied. */
  repeated: number;
  parked: number;
  dead: number;
}

interface ConsumerOptions {
  connections: Connections;
  handlers: readonly Handler[];
  retention: Retention;
  counters: Counters;
  trace: TraceUnits;
  /** Ends it: what it is at fails, and nothing of it is committed. */
  signal: AbortSignal;
  log: Pick<ServiceBroker['logger'], 'info' | 'warn' | 'error'>;
}

type Advance = (tx: Transaction) => Promise<void> | undefined;

/** Brings about what events cause in one domain: all of a chunk in one transaction, and one by one what does not go so. */
export class Consumer {
  readonly #handlers = new Map<string, Handler[]>();

  constructor(private readonly options: ConsumerOptions) {
    for (const handler of options.handlers) {
      this.#handlers.set(handler.topic, [...(this.#handlers.get(handler.topic) ?? []), handler]);
    }
  }

  get topics(): string[] {
    return [...this.#handlers.keys()];
  }

  /** Keeps the promise of `Group.deliver`. */
  async deliver(chunk: Chunk): Promise<void> {
    const units = chunk.events.flatMap(event => this.#unitsOf(event));
    const last = chunk.events.at(-1);
    if (!last) return;
    try {
      await this.#carryOut(sortByKey(units), tx => chunk.advance?.(tx, last));
    } catch (error) {
      if (isOffsetMoved(error) || this.options.signal.aborted) throw error;
      // Somebody who is not known yet is nothing to worry about.
      if (!isUnknownPerson(error)) this.options.log.warn(`${units.length} events go one by one: ${describeError(error)}`);
      await this.#oneByOne(chunk, units);
    }
    this.options.counters.handled += units.length;
  }

  /**
   * Brings replicas up to date with some events, and nothing else.
   * @returns how many of them could not be used: what was given up once stands in the log for ever
   */
  async replay(events: readonly CarriedEvent[], service: string): Promise<number> {
    const units = events.flatMap(event => this.#unitsOf(event));
    const replicas = units.filter(unit => unit.kind === 'replica' && unit.handler.service === service);
    try {
      await this.#commit(tx => carryOut(tx, sortByKey(replicas)));
      return 0;
    } catch (error) {
      if (this.options.signal.aborted) throw error;
      return await this.#replayOneByOne(replicas);
    }
  }

  async #replayOneByOne(replicas: readonly Unit[]): Promise<number> {
    let failed = 0;
    for (const unit of replicas) {
      try {
        await this.#commit(tx => carryOut(tx, [unit]));
      } catch (error) {
        if (this.options.signal.aborted) throw error;
        failed++;
        this.options.log.warn(
          `Left out of the replay: ${unit.event.topic} ${unit.event.key} (event ${unit.eventId}): ${describeError(error)}`,
        );
      }
    }
    return failed;
  }

  async #oneByOne(chunk: Chunk, units: readonly Unit[]): Promise<void> {
    for (const event of chunk.events) {
      const own = units.filter(unit => unit.event === event);
      for (const unit of own.slice(0, -1)) await this.#settle(unit, () => undefined);
      const lastOfAll = own.at(-1);
      const advance = (tx: Transaction) => chunk.advance?.(tx, event);
      if (lastOfAll) await this.#settle(lastOfAll, advance);
      else if (event === chunk.events.at(-1)) await this.#commit(async tx => advance(tx));
      await chunk.heartbeat?.();
    }
  }

  /** Tries one event by itself until it is done, parked or given up; with that, and only then, the offset moves. */
  async #settle(unit: Unit, advance: Advance): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#carryOut([unit], advance);
      } catch (error) {
        if (isOffsetMoved(error) || this.options.signal.aborted) throw error;
        if (isUnknownPerson(error)) return await this.#park(unit, error.userId, advance);
        if (tries === MAX_TRIES) return await this.#bury(unit, error, advance);
        await delay(FIRST_PAUSE * 2 ** (tries - 1), undefined, { signal: this.options.signal, ref: false });
      }
    }
  }

  async #park(unit: Unit, userId: string, advance: Advance): Promise<void> {
    await this.#commit(async tx => {
      await advance(tx);
      await park(tx, unit, userId);
    });
    this.options.counters.parked++;
  }

  async #bury(unit: Unit, error: unknown, advance: Advance): Promise<void> {
    const reason = describeError(error);
    await this.#commit(async tx => {
      await advance(tx);
      await bury(tx, unit, reason, MAX_TRIES);
    });
    this.options.counters.dead++;
    const { topic, key } = unit.event;
    const what = `${topic} ${key} (event ${unit.eventId}) in ${unit.handler.service}`;
    this.options.log.error(`Given up after ${MAX_TRIES} tries, it is in dead_letters: ${what}: ${reason}`);
  }

  #carryOut(units: readonly Unit[], advance: Advance): Promise<void> {
    return this.options.trace(units, traced =>
      this.#commit(async tx => {
        await advance(tx);
        await carryOut(tx, traced);
      }),
    );
  }

  #commit(work: (tx: Transaction) => Promise<void>): Promise<void> {
    const { connections, signal, log } = this.options;
    return persist(() => connections.inTransaction(work), signal, log);
  }

  #unitsOf(event: CarriedEvent): Unit[] {
    if (event.value === null) {
      this.options.counters.tombstones++;
      return [];
    }
    const envelope = parseEnvelope(event.value);
    const eventId = envelope?.id ?? event.place;
    const handlers = this.#handlers.get(event.topic) ?? [];
    const mayReact = handlers.some(handler => handler.isReaction) && this.#mayReact(event, envelope);
    return handlers.flatMap(handler => [
      ...(handler.isReplica ? [{ handler, kind: 'replica' as const, event, eventId, envelope }] : []),
      ...(handler.isReaction && mayReact ? [{ handler, kind: 'reaction' as const, event, eventId, envelope }] : []),
    ]);
  }

  #mayReact(event: CarriedEvent, envelope: Envelope | undefined): boolean {
    const { retention, counters } = this.options;
    if (event.isRepeated) {
      counters.repeated++;
      return false;
    }
    if (envelope?.republished) {
      counters.republished++;
      return false;
    }
    const hours = (Date.now() - Date.parse(envelope?.time ?? '')) / 3_600_000;
    if (hours > retention.inboxDays * 24 || (event.isFirstCatchUp && hours > retention.catchUpHours)) {
      counters.tooOld++;
      return false;
    }
    return true;
  }
}

/** Unsorted chunks of sibling topics deadlocked. The sort is stable: the order of one key stays. */
function sortByKey(units: readonly Unit[]): Unit[] {
  return units.toSorted((a, b) => (a.event.key < b.event.key ? -1 : a.event.key > b.event.key ? 1 : 0));
}

export function parseEnvelope(value: string): Envelope | undefined {
  try {
    const envelope = JSON.parse(value) as Envelope | null;
    return typeof envelope?.id === 'string' ? envelope : undefined;
  } catch {
    return undefined;
  }
}
