import type { ServiceBroker } from 'moleculer';
import { type CarriedEvent, type Group, isOffsetMoved } from './carrier';
import { Loop } from './loop';
import { Offsets } from './offsets';
import type { LogState, Outbox, StampedRow } from './outbox';

/** Milliseconds between looks when nobody wakes it. */
const LOOK_EVERY = 60_000;
const MAX_BACKOFF = 5_000;
/** Rows without interest to the group after which it notes that it has passed them. */
const UNNOTED_ROWS = 1_000;
const REPORT_EVERY = 60_000;
/** The same while it moves on: what it read after its last report it would react to again in an emptied database. */
const REPORT_PROGRESS_EVERY = 1_000;

interface EmbeddedEvent extends CarriedEvent {
  position: number;
}

/** Brings one group the events of one outbox, chunk by chunk. */
export class Reader {
  readonly #loop = new Loop(() => this.#work());
  readonly #offsets: Offsets;
  #isLoaded = false;
  /** Newest state of the log that is known, never older than what was read of it. */
  #log: LogState | undefined;
  /** What this was last woken for; it may be newer than a state that was asked for before and is still under way. */
  #told: LogState | undefined;
  /** Everything up to here was looked at; the offsets lag behind it over rows without interest. */
  #cursor = 0;
  /** The same, but not forgotten while the group's database is away. */
  #passed = 0;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #reported = -1;
  #backoff = 0;
  #isStopped = false;

  constructor(
    private readonly outbox: Outbox,
    private readonly group: Group,
    private readonly log: Pick<ServiceBroker['logger'], 'info' | 'warn'>,
  ) {
    this.#offsets = new Offsets(outbox.name, group.name, group.topics);
  }

  start(): void {
    this.#loop.start();
  }

  /** The log has got this far. */
  wake(log: LogState): void {
    // Two that looked at the same time may tell in the wrong order; a log that has really gone back has another id, or
    // was out of reach meanwhile.
    const isNews = this.#log && (this.#log.logId !== log.logId || this.#log.end < log.end);
    if (isNews) this.#log = log;
    this.#told = log;
    this.#loop.wake();
  }

  /** Rows of the log behind what was looked at, whether the group wants them or not. */
  get lag(): number {
    const end = this.#log?.end ?? this.#told?.end ?? 0;
    return Math.max(0, end - this.#passed);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#loop.stop();
    if (this.#hasProgress) await this.report().catch(() => undefined);
  }

  /** Tells the outbox's database how far the group has read. */
  async report(): Promise<void> {
    if (!this.#isLoaded) return;
    this.#reportedAt = performance.now();
    const { position } = this.#offsets;
    await this.outbox.noteReader(this.group.name, position);
    this.#reported = position;
  }

  get #hasProgress(): boolean {
    return this.#isLoaded && this.#offsets.position !== this.#reported;
  }

  /** Milliseconds until the next report is due. */
  get #untilReport(): number {
    return this.#reportedAt + (this.#hasProgress ? REPORT_PROGRESS_EVERY : REPORT_EVERY) - performance.now();
  }

  async #work(): Promise<number> {
    try {
      for (let isMore = true; isMore && !this.#isStopped; ) {
        isMore = await this.#readPage();
        if (this.#untilReport <= 0) await this.report();
      }
      if (this.#backoff > 0) this.log.info(`${this.group.name} reads the events of ${this.outbox.name} again`);
      this.#backoff = 0;
      return Math.min(LOOK_EVERY, Math.max(0, this.#untilReport));
    } catch (error) {
      this.#isLoaded = false;
      if (isOffsetMoved(error)) return 0;
      if (this.#isStopped) return LOOK_EVERY;
      if (this.#backoff === 0) {
        this.log.warn(`${this.group.name} cannot read the events of ${this.outbox.name}: ${(error as Error).message}`);
      }
      this.#backoff = Math.min(Math.max(100, this.#backoff * 2), MAX_BACKOFF);
      return this.#backoff;
    }
  }

  /** Returns whether there may be more. */
  async #readPage(): Promise<boolean> {
    if (!this.#isLoaded) await this.#load();
    this.#log ??= await this.#askForState();
    const log = this.#log;
    if (await this.#offsets.adoptLog(this.group.connections, log, () => this.outbox.furthestOf(this.group.name))) {
      this.#isLoaded = false;
      return true;
    }
    const after = Math.max(this.#offsets.position, this.#cursor);
    this.#passed = after;
    if (after >= log.end) return false;
    const rows = await this.outbox.page(after, this.group.topics);
    const last = rows.at(-1)?.position ?? log.end;
    this.#log = { ...this.#log, end: Math.max(this.#log.end, last) };
    await this.#deliver(rows, last);
    this.#cursor = last;
    this.#passed = last;
    return last < log.end;
  }

  #toEvent(row: StampedRow): EmbeddedEvent {
    const { firstEnd, readBefore } = this.#offsets.of(row.topic);
    return toEvent(this.outbox.name, row, firstEnd, readBefore);
  }

  async #askForState(): Promise<LogState> {
    this.#told = undefined;
    const asked = await this.outbox.state();
    const told = this.#told as LogState | undefined;
    return told?.logId === asked.logId && told.end > asked.end ? told : asked;
  }

  async #load(): Promise<void> {
    this.#log = undefined;
    await this.#offsets.load(this.group.connections);
    this.#cursor = 0;
    this.#isLoaded = true;
  }

  async #deliver(rows: readonly StampedRow[], last: number): Promise<void> {
    const events = rows
      .filter(row => row.isWanted && row.position > this.#offsets.of(row.topic).position)
      .map(row => this.#toEvent(row));
    if (events.length > 0) {
      await this.group.deliver({
        events,
        advance: (tx, event) => this.#offsets.advance(tx, event === events.at(-1) ? last : (event as EmbeddedEvent).position),
      });
    } else if (last - this.#offsets.position >= UNNOTED_ROWS) {
      await this.group.connections.inTransaction(tx => this.#offsets.advance(tx, last));
    }
  }
}

export function toEvent(source: string, row: StampedRow, firstEnd = 0, readBefore = 0): EmbeddedEvent {
  const { topic, key, envelope: value, position } = row;
  const place = `${source}/${position}`;
  return { topic, key, value, position, place, isFirstCatchUp: position <= firstEnd, isRepeated: position <= readBefore };
}
