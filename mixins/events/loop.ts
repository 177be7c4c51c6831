/**
 * Runs one piece of work over and over, never twice at once: when it is woken, and otherwise after the time that it
 * asked for itself.
 */
export class Loop {
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isWoken = false;
  #isStopped = true;
  #startedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param work returns after how many milliseconds it wants to run again, `Infinity` for when woken; it may not fail
   * @param gap least time between two starts in milliseconds, however often it is woken
   */
  constructor(
    private readonly work: () => Promise<number>,
    private readonly gap = 0,
  ) {}

  /** Runs from now on; for the first time at once, or when it is woken. */
  start({ isAsleep = false } = {}): void {
    this.#isStopped = false;
    if (!isAsleep) this.wake();
  }

  wake(): void {
    if (this.#isStopped) return;
    if (this.#running) this.#isWoken = true;
    else this.#runIn(this.#startedAt + this.gap - performance.now());
  }

  /** Waits for the work that is under way; there is no more afterwards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #runIn(milliseconds: number): void {
    // A timer that is left behind by a wake-up would hold the next one back.
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (milliseconds <= 0) this.#run();
    else if (milliseconds < Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.#run(), milliseconds);
  }

  #run(): void {
    this.#startedAt = performance.now();
    this.#isWoken = false;
    this.#running = this.work().then(pause => {
      this.#running = undefined;
      if (this.#isStopped) return;
      const untilGap = this.#startedAt + this.gap - performance.now();
      this.#runIn(this.#isWoken ? untilGap : pause);
    });
  }
}
