/**
 * Waits for some work, but not longer than so many milliseconds. Work that is late goes on, and nobody hears of it.
 * @param late what to give instead; may throw
 */
export async function within<T, Late = T>(milliseconds: number, work: Promise<T>, late: () => Late): Promise<T | Late> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, over.then(late)]);
  } finally {
    clearTimeout(timer);
  }
}
