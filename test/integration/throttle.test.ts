import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  assertNotThrottled,
  FAILURE_LIMITS,
  purgeLoginFailures,
  recordFailure,
  throttleMigration,
} from '../../mixins/auth/throttle';
import { Database } from '../../mixins/db/database';
import { statement } from '../../mixins/db/statement';
import { freshDatabase } from '../helpers/database';

let db: Database;
beforeAll(async () => {
  const silent = { info() {}, warn() {}, error() {} };
  db = new Database(
    { name: 'throttle', url: await freshDatabase('throttle'), migrations: [throttleMigration], constraints: {} },
    silent,
  );
  await db.whenReady();
});
afterAll(() => db.close());
beforeEach(() => statement('test.clear', 'delete from login_failures').all(db, {}));

/** Makes everything that was noted so far older. */
const age = (interval: string) =>
  statement<{ by: string }>(
    'test.age',
    `update login_failures set last_failed_at = last_failed_at - $by::interval,
      failed_at = array(select at - $by::interval from unnest(failed_at) as at order by at)`,
  ).all(db, { by: interval });

const tooMany = expect.objectContaining({
  code: 429,
  type: 'TOO_MANY_REQUESTS',
  data: expect.objectContaining({ retryAfter: expect.any(Number) }),
});
const camille = { email: 'camille@example.com', clientAddress: '192.0.2.1' };

async function fail(times: number, attempt = camille): Promise<void> {
  for (let time = 0; time < times; time++) await recordFailure(db, attempt);
}

describe('failures of one account', () => {
  it('are allowed ten times in 15 minutes, wherever they come from and however the address is written', async () => {
    await fail(9);
    await assertNotThrottled(db, camille);
    await recordFailure(db, { email: ' Camille@Example.COM', clientAddress: '192.0.2.2' });
    await expect(assertNotThrottled(db, { ...camille, clientAddress: '192.0.2.3' })).rejects.toEqual(tooMany);
    await expect(recordFailure(db, camille)).rejects.toEqual(tooMany);
  });

  it('do not touch another account behind the same address', async () => {
    await fail(10);
    await assertNotThrottled(db, { ...camille, email: 'sacha@example.com' });
  });

  it('say when the oldest one will be forgotten', async () => {
    await fail(1);
    await age('10 minutes');
    await fail(9);
    const refused = await assertNotThrottled(db, camille).catch(error => error);
    expect(refused.data.retryAfter).toBeGreaterThan(295);
    expect(refused.data.retryAfter).toBeLessThanOrEqual(300);
  });

  it('are forgotten one by one after 15 minutes', async () => {
    await fail(5);
    await age('14 minutes');
    await fail(5);
    await expect(recordFailure(db, camille)).rejects.toEqual(tooMany);
    await age('61 seconds');
    await assertNotThrottled(db, camille);
    await fail(5);
    await expect(recordFailure(db, camille)).rejects.toEqual(tooMany);
  });

  it('are not counted beyond the limit, so that whoever goes on trying does not lock the account for longer', async () => {
    await fail(10);
    await age('14 minutes');
    for (let time = 0; time < 5; time++) await expect(recordFailure(db, camille)).rejects.toEqual(tooMany);
    await age('61 seconds');
    await assertNotThrottled(db, camille);
  });

  it('are told apart ten times only when 50 guesses come at once', async () => {
    const guesses = await Promise.allSettled(Array.from({ length: 50 }, () => recordFailure(db, camille)));
    expect(guesses.filter(({ status }) => status === 'fulfilled')).toHaveLength(FAILURE_LIMITS.account);
    for (const guess of guesses) if (guess.status === 'rejected') expect(guess.reason).toEqual(tooMany);
    await expect(assertNotThrottled(db, camille)).rejects.toEqual(tooMany);
  });
});

describe('failures from one address', () => {
  it('are allowed 300 times in 15 minutes, whatever accounts they name', async () => {
    await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        recordFailure(db, { email: `p${index}@example.com`, clientAddress: '192.0.2.1' }),
      ),
    );
    await expect(assertNotThrottled(db, { email: 'new@example.com', clientAddress: '192.0.2.1' })).rejects.toEqual(tooMany);
    await expect(recordFailure(db, { email: 'new@example.com', clientAddress: '192.0.2.1' })).rejects.toEqual(tooMany);
    await assertNotThrottled(db, { email: 'new@example.com', clientAddress: '192.0.2.2' });
  });

  it('are not counted where there is no address', async () => {
    await recordFailure(db, { email: 'inside@example.com' });
    const { count } = await statement<object, { count: number }>('test.count', 'select count(*) from login_failures').one(db, {});
    expect(count).toBe(1);
  });
});

describe('purgeLoginFailures', () => {
  it('removes what counts no more, and nothing else', async () => {
    await fail(1);
    await age('16 minutes');
    await fail(1, { email: 'sacha@example.com', clientAddress: '192.0.2.9' });
    await purgeLoginFailures(db, 100);
    const { count } = await statement<object, { count: number }>('test.count', 'select count(*) from login_failures').one(db, {});
    expect(count).toBe(2);
  });
});
