import type { ServiceBroker } from 'moleculer';
import type { Transaction } from '../db/transaction';
import type { TraceUnits } from '../tracing/deliveries';
import type { Connections } from './connections';
import { type Counters, MAX_TRIES, parseEnvelope } from './consumer';
import { bury } from './dead-letters';
import { type Handler, react, type Unit } from './delivery';
import { describeError, persist } from './failures';
import { Loop } from './loop';
import { leaveParked, listDueEvents, type ParkedEvent, takeParked } from './parking';
import { isUnknownPerson } from './reaction';
import type { Retention } from './retention';

/** Milliseconds between looks when nobody arrives. */
const LOOK_EVERY = 60_000;
const BATCH = 100;

interface ParkedEventsOptions {
  connections: Connections;
  handlers: readonly Handler[];
  retention: Retention;
  counters: Counters;
  trace: TraceUnits;
  signal: AbortSignal;
  log: Pick<ServiceBroker['logger'], 'warn' | 'error'>;
}

/** Lets parked reactions happen when the person that they wait for has arrived, and gives up those that waited in vain. */
export class ParkedEvents {
  readonly #loop = new Loop(() => this.#work());

  constructor(private readonly options: ParkedEventsOptions) {}

  start(): void {
    this.#loop.start();
  }

  /** Somebody has arrived, or an event was parked. */
  wake(): void {
    this.#loop.wake();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #work(): Promise<number> {
    const { connections, retention, signal, log } = this.options;
    try {
      const due = await persist(() => listDueEvents(connections, retention.parkedHours, BATCH), signal, log);
      for (const parked of due) await this.#settle(parked);
      return due.length === BATCH ? 0 : LOOK_EVERY;
    } catch (error) {
      if (!signal.aborted) log.warn(`Parked events stay parked for now: ${describeError(error)}`);
      return LOOK_EVERY;
    }
  }

  async #settle(parked: ParkedEvent): Promise<void> {
    const handler = this.options.handlers.find(({ service, topic }) => service === parked.service && topic === parked.topic);
    const reason = `${parked.waitsFor} did not arrive within ${this.options.retention.parkedHours} hours`;
    if (parked.isExpired) return await this.#bury(toUnit(parked, handler), reason, parked.tries);
    if (!handler) return await this.#leave(parked, 0);
    const unit = toUnit(parked, handler);
    try {
      await this.options.trace([unit], ([traced = unit]) => this.#take(unit, tx => react(tx, traced)));
    } catch (error) {
      if (this.options.signal.aborted) throw error;
      if (isUnknownPerson(error)) await this.#leave(parked, 0);
      else if (parked.tries + 1 < MAX_TRIES) await this.#leave(parked, 1);
      else await this.#bury(unit, describeError(error), parked.tries + 1);
    }
  }

  async #leave({ eventId, service, arrivals }: ParkedEvent, failures: number): Promise<void> {
    await leaveParked.all(this.options.connections, { eventId, service, arrivals, failures });
  }

  async #bury(unit: Unit, reason: string, tries: number): Promise<void> {
    await this.#take(unit, tx => bury(tx, unit, reason, tries));
    this.options.counters.dead++;
    const { topic, key } = unit.event;
    this.options.log.error(`A parked event is in dead_letters: ${topic} ${key} in ${unit.handler.service}: ${reason}`);
  }

  async #take({ eventId, handler }: Unit, work: (tx: Transaction) => Promise<void>): Promise<void> {
    const { connections, signal, log } = this.options;
    const transaction = async (tx: Transaction) => {
      if (await takeParked.maybe(tx, { eventId, service: handler.service })) await work(tx);
    };
    await persist(() => connections.inTransaction(transaction), signal, log);
  }
}

function toUnit({ eventId, service, topic, key, envelope }: ParkedEvent, handler: Handler | undefined): Unit {
  return {
    handler: handler ?? { service, run: () => Promise.reject(new Error(`${service} does not handle ${topic} any more`)) },
    kind: 'reaction',
    event: { topic, key, value: envelope },
    eventId,
    envelope: parseEnvelope(envelope),
  };
}
