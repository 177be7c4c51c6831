import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { BoundedQueue } from '../../mixins/auth/bounded-queue';
import { hashPassword, passwordProblems } from '../../mixins/auth/passwords';

describe('passwordProblems', () => {
  it.each([
    'correct horse battery',
    'Kj8#mQ2!vXz',
    'hivernage-2026-tres-long',
    'пароль-которого-нет',
    `${'x'.repeat(20)}abcdef`,
    'manchester and salamander',
    '🐝🐻🦊🐼🐨🐯🦁🐮🐷🐸',
  ])('takes %s', password => {
    expect(passwordProblems(password, 'camille.moreau@example.com')).toEqual([]);
  });

  it.each([
    ['too short', 'short', 'at least 10'],
    ['nine characters', 'Kj8#mQ2!v', 'at least 10'],
    ['nine characters of two code units each', '🐝🐻🦊🐼🐨🐯🦁🐮🐷', 'at least 10'],
    ['too long', 'abcde12345'.repeat(13), 'at most 128'],
    ['the address', 'camille.moreau@example.com', 'e-mail'],
    ['the address, otherwise written', 'Camille.Moreau@EXAMPLE.com', 'e-mail'],
    ['its local part', 'Camille.Moreau', 'e-mail'],
    ['a common one', 'qwertyuiop', 'common'],
    ['a common one in capitals', 'PassWord123', 'common'],
    ['a common one with a year', 'Password2026!', 'common'],
    ['a common one in French', 'motdepasse123', 'common'],
    ['a row of digits', '0123456789', 'common'],
    ['a row of digits, backwards', '9876543210', 'common'],
    ['one character', 'aaaaaaaaaaaa', 'common'],
    ['two characters', 'ababababab', 'common'],
    ['full-width letters of a common one', 'ｐａｓｓｗｏｒｄ１２３', 'common'],
  ])('refuses %s', (_, password, message) => {
    const [problem, ...others] = passwordProblems(password, 'camille.moreau@example.com');
    expect(others).toEqual([]);
    expect(problem).toEqual({ field: 'password', message: expect.stringContaining(message) });
  });

  it('names the field that the password stands in', () => {
    expect(passwordProblems('short', 'a@b.example', 'user.password')[0]?.field).toBe('user.password');
  });
});

const salt = (of: string) => createHash('sha256').update(of).digest().subarray(0, 16);

describe('hashPassword', () => {
  it('uses argon2id with 19 MiB, two passes and one lane', async () => {
    expect(await hashPassword('correct horse battery', salt('a'))).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  });

  it('is the same for the same password and salt, and for no other', async () => {
    const known = await hashPassword('correct horse battery', salt('a'));
    expect(await hashPassword('correct horse battery', salt('a'))).toBe(known);
    expect(await hashPassword('correct horse Battery', salt('a'))).not.toBe(known);
    expect(await hashPassword('correct horse battery', salt('b'))).not.toBe(known);
  });

  it('takes an é however the keyboard writes it', async () => {
    expect(await hashPassword('caf\u00e9 du matin', salt('a'))).toBe(await hashPassword('cafe\u0301 du matin', salt('a')));
  });

  it('leaves the event loop free', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await Promise.all(Array.from({ length: 10 }, () => hashPassword('anything', salt('a'))));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(10);
  });

  it('turns people away when too many wait, and says when to come back', async () => {
    const results = await Promise.allSettled(Array.from({ length: 300 }, () => hashPassword('anything', salt('a'))));
    const refused = results.filter(result => result.status === 'rejected');
    expect(refused).toHaveLength(300 - 257);
    expect(refused[0]?.reason).toMatchObject({ code: 503, type: 'UNAVAILABLE', data: { retryAfter: 3 } });
    await expect(hashPassword('anything', salt('a'))).resolves.toContain('argon2id');
  });
});

describe('BoundedQueue', () => {
  it('runs in order, never more than its limit at a time, and goes on after a failure', async () => {
    const queue = new BoundedQueue({ concurrency: 2, capacity: 10, retryAfterSeconds: 1 });
    const order: number[] = [];
    let running = 0;
    let most = 0;
    const task = (index: number) =>
      queue.run(async () => {
        order.push(index);
        most = Math.max(most, ++running);
        await new Promise(resolve => setImmediate(resolve));
        running--;
        if (index === 1) throw new Error('failed');
      });
    const results = await Promise.allSettled(Array.from({ length: 8 }, (_, index) => task(index)));
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(2);
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
  });
});
