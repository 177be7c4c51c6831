import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Loop } from '../../mixins/events/loop';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A loop whose runs end when told to. */
function slowLoop(pause: number, gap?: number) {
  const runs: PromiseWithResolvers<number>[] = [];
  const loop = new Loop(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  }, gap);
  const finish = async () => {
    runs.at(-1)?.resolve(pause);
    await vi.advanceTimersByTimeAsync(0);
  };
  return { loop, runs, finish };
}

describe('Loop', () => {
  it('runs at its start, and again after the time that the work asked for', async () => {
    const { loop, runs, finish } = slowLoop(1_000);
    loop.wake();
    expect(runs).toHaveLength(0);
    loop.start();
    await finish();
    await vi.advanceTimersByTimeAsync(999);
    expect(runs).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(runs).toHaveLength(2);
  });

  it('runs at once when it is woken, and then not again for the gap', async () => {
    const { loop, runs, finish } = slowLoop(1_000, 5);
    loop.start();
    await finish();
    await vi.advanceTimersByTimeAsync(100);
    loop.wake();
    expect(runs).toHaveLength(2);
    await finish();
    for (let n = 0; n < 10; n++) loop.wake();
    expect(runs).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(5);
    expect(runs).toHaveLength(3);
    await finish();
    await vi.advanceTimersByTimeAsync(100);
    expect(runs).toHaveLength(3);
  });

  it('never runs twice at once, and once more for whoever woke it meanwhile', async () => {
    const { loop, runs, finish } = slowLoop(1_000);
    loop.start();
    for (let n = 0; n < 10; n++) loop.wake();
    expect(runs).toHaveLength(1);
    await finish();
    expect(runs).toHaveLength(2);
    await finish();
    expect(runs).toHaveLength(2);
  });

  it('leaves no timer behind when it is woken', async () => {
    const { loop, runs, finish } = slowLoop(1_000);
    loop.start();
    await finish();
    await vi.advanceTimersByTimeAsync(900);
    loop.wake();
    await finish();
    await vi.advanceTimersByTimeAsync(500);
    expect(runs).toHaveLength(2);
  });

  it('sleeps until it is woken when the work asks for Infinity', async () => {
    const { loop, runs, finish } = slowLoop(Number.POSITIVE_INFINITY);
    loop.start();
    await finish();
    expect(vi.getTimerCount()).toBe(0);
    loop.wake();
    expect(runs).toHaveLength(2);
  });

  it('stops after what is under way', async () => {
    const { loop, runs, finish } = slowLoop(0);
    loop.start();
    let isStopped = false;
    const stopped = loop.stop().then(() => {
      isStopped = true;
    });
    loop.wake();
    await vi.advanceTimersByTimeAsync(10);
    expect(isStopped).toBe(false);
    await finish();
    await stopped;
    expect(runs).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
