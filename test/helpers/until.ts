import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits until the condition gives something truthy, and returns it. A condition that throws is asked again.
 * @param options `timeout` and `every` in milliseconds
 * @throws when the deadline passes, with what the condition last gave or threw
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeout = 5_000, every = 20, what = 'The condition' }: { timeout?: number; every?: number; what?: string } = {},
): Promise<Exclude<T, undefined | null | false | '' | 0>> {
  const deadline = Date.now() + timeout;
  for (;;) {
    let last: unknown;
    try {
      const value = await condition();
      if (value) return value as Exclude<T, undefined | null | false | '' | 0>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      const seen = last instanceof Error ? last.message : String(JSON.stringify(last));
      throw new Error(`${what} did not hold within ${timeout} ms; last: ${seen}`, { cause: last });
    }
    await delay(every);
  }
}
