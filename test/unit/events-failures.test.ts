import { describe, expect, it, vi } from 'vitest';
import { persist } from '../../mixins/events/failures';

const failure = (code: string) => Object.assign(new Error(`failed with ${code}`), { code });

/** A transaction that fails with these, one after the other, and then goes through. */
function failing(...failures: Error[]) {
  const warnings: string[] = [];
  const abort = new AbortController();
  const transaction = vi.fn(async () => {
    const error = failures.shift();
    if (error) throw error;
    return 'done';
  });
  const log = { warn: (message: string) => void warnings.push(message) };
  return { transaction, warnings, abort, run: () => persist(transaction, abort.signal, log) };
}

describe('persist', () => {
  it('runs again at once after deadlocks and serialisation failures, up to a bound', async () => {
    const { run, transaction, warnings } = failing(...Array.from({ length: 10 }, (_, n) => failure(n % 2 ? '40P01' : '40001')));
    expect(await run()).toBe('done');
    expect(transaction).toHaveBeenCalledTimes(11);
    expect(warnings).toEqual([]);
    const stuck = failing(...Array.from({ length: 100 }, () => failure('40P01')));
    await expect(stuck.run()).rejects.toMatchObject({ code: '40P01' });
    expect(stuck.transaction).toHaveBeenCalledTimes(11);
  });

  it('leaves the event’s own failures to its caller, a statement that takes too long among them', async () => {
    for (const code of ['23505', '22P02', '57014', '55P03', 'SOMETHING']) {
      const { run, transaction } = failing(failure(code));
      await expect(run()).rejects.toMatchObject({ code });
      expect(transaction).toHaveBeenCalledTimes(1);
    }
  });

  it('waits for as long as the database is away, and says so once', async () => {
    const { run, transaction, warnings } = failing(...['57P01', 'ECONNREFUSED', '53300'].map(failure));
    const started = performance.now();
    expect(await run()).toBe('done');
    expect(performance.now() - started).toBeGreaterThan(650);
    expect(transaction).toHaveBeenCalledTimes(4);
    expect(warnings).toEqual(['Events wait for the database: failed with 57P01']);
  });

  it('ends its waiting when it is told to', async () => {
    const { run, abort } = failing(...Array.from({ length: 100 }, () => failure('ECONNREFUSED')));
    const running = run();
    setTimeout(() => abort.abort(new Error('stop')), 20);
    await expect(running).rejects.toThrow('stop');
    await expect(run()).rejects.toThrow('stop');
  });
});
