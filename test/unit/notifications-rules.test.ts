import { describe, expect, it } from 'vitest';
import {
  backoff,
  MAX_REFUSALS,
  type Outcome,
  settle,
  type Wish,
  whyNotToSend,
  whyNotWithLink,
} from '../../services/notifications/deliveries.rules';
import { toTelling, toWelcome } from '../../services/notifications/notifications.rules';

const COMPANY = '0198c0de-0000-7000-8000-00000000000c';
const PERSON = '0198c0de-0000-7000-8000-000000000001';
const OTHER = '0198c0de-0000-7000-8000-000000000002';
const NOW = new Date('2026-06-01T12:00:00.000Z');
const secondsAgo = (seconds: number) => new Date(NOW.getTime() - seconds * 1_000).toISOString();

const asked = {
  companyId: COMPANY,
  kind: 'announcement',
  to: { userIds: [PERSON] },
  params: { subject: 'Fire drill', text: 'At ten.' },
  urgent: false,
  dedupeKey: 'drill',
};

describe('toTelling', () => {
  it('takes a kind that is known, with parameters of its own', () => {
    expect(toTelling({ ...asked, params: { ...asked.params, more: 'dropped' } })).toEqual({
      companyId: COMPANY,
      kind: 'announcement',
      channels: ['MAIL'],
      params: { subject: 'Fire drill', text: 'At ten.' },
      urgent: false,
      dedupeKey: 'drill',
      sealed: null,
      expiresAt: null,
    });
  });

  it.each(['nonsense', 'toString', '__proto__'])('refuses the kind %s', kind => {
    expect(() => toTelling({ ...asked, kind })).toThrow(`no kind of notification named ${kind}`);
  });

  it('refuses parameters that the template cannot do with', () => {
    expect(() => toTelling({ ...asked, params: { subject: 'Fire drill' } })).toThrow();
  });

  it('keeps a token only for kinds that have a link', () => {
    expect(toTelling({ ...asked, sealed: 'k.x' }).sealed).toBeNull();
  });

  describe('with a link', () => {
    const invite = { ...asked, kind: 'invite', params: { expiresAt: '2026-06-08T12:00:00.000Z' }, sealed: 'k.x' };

    it('expires with its link', () => {
      expect(toTelling(invite)).toMatchObject({ sealed: 'k.x', expiresAt: '2026-06-08T12:00:00.000Z' });
    });

    it('is refused without a token', () => {
      expect(() => toTelling({ ...invite, sealed: undefined })).toThrow('has a sealed token and one recipient');
    });

    it('is refused for more than one person', () => {
      expect(() => toTelling({ ...invite, to: { userIds: [PERSON, OTHER] } })).toThrow('one recipient');
      expect(() => toTelling({ ...invite, to: { everyone: true } })).toThrow('one recipient');
    });
  });
});

describe('toWelcome', () => {
  const user = {
    id: PERSON,
    companyId: COMPANY,
    firstName: 'Zoë',
    lastName: 'Martin',
    email: 'zoe@example.com',
    role: 'EMPLOYEE' as const,
    status: 'INVITED' as const,
    teamIds: [],
    pictureUrl: null,
    phone: null,
    timeZone: 'Europe/Paris',
    locale: 'fr' as const,
    startsOn: null,
    version: 1,
  };

  it('invites who has an invitation', () => {
    const told = toWelcome({ ...user, invite: { sealed: 'k.x', expiresAt: '2026-06-08T12:00:00.000Z' } });
    expect(told).toMatchObject({
      kind: 'invite',
      sealed: 'k.x',
      dedupeKey: `users.create:${PERSON}`,
      expiresAt: '2026-06-08T12:00:00.000Z',
    });
  });

  it('welcomes who signed a company up', () => {
    expect(toWelcome({ ...user, role: 'ADMIN', status: 'ACTIVE' })).toMatchObject({ kind: 'welcome', sealed: null });
  });

  it('says nothing to somebody who is invited without a link', () => {
    expect(toWelcome(user)).toBeUndefined();
  });
});

describe('settle', () => {
  const first = { tries: 1, refusals: 0 };

  it('loses nothing, however often the server is not reached', () => {
    const outcome: Outcome = { result: 'UNREACHABLE', error: 'down' };
    for (const tries of [1, 10, 1_000]) {
      const settlement = settle(outcome, { tries, refusals: 0 }, 0.5);
      expect(settlement).toMatchObject({ status: 'PENDING', refused: 0, error: 'down' });
      expect(settlement.delaySeconds).toBeLessThanOrEqual(144);
    }
    expect(settle(outcome, { tries: 3, refusals: 2 }, 0.5).status).toBe('FAILED');
  });

  it('gives up after ten refusals over about a day', () => {
    let seconds = 0;
    for (let refusals = 0; refusals < MAX_REFUSALS; refusals++) {
      const settlement = settle({ result: 'DEFERRED', error: '450' }, { tries: refusals + 1, refusals }, 0.5);
      expect(settlement).toMatchObject({ status: refusals < MAX_REFUSALS - 1 ? 'FAILED' : 'DEAD', refused: 1, error: '450' });
      seconds += settlement.delaySeconds;
    }
    expect(seconds / 3_600).toBeGreaterThan(12);
    expect(seconds / 3_600).toBeLessThan(30);
  });

  it('gives up at once what is refused for good', () => {
    expect(settle({ result: 'REJECTED', error: '550' }, first, 0.5)).toMatchObject({ status: 'DEAD', error: '550', refused: 1 });
  });

  it('notes how it was sent, and why it was not', () => {
    expect(settle({ result: 'SENT', providerId: '250 ok' }, first, 0)).toMatchObject({
      status: 'SENT',
      providerId: '250 ok',
      error: null,
    });
    expect(settle({ result: 'SUPPRESSED', reason: 'EXPIRED' }, first, 0)).toMatchObject({
      status: 'SUPPRESSED',
      reason: 'EXPIRED',
    });
  });
});

describe('backoff', () => {
  it('doubles up to its bound, and spreads', () => {
    expect([1, 2, 3, 9].map(tries => backoff(1, tries, 60, 0.5))).toEqual([1, 2, 4, 60]);
    expect(backoff(10, 1, 60, 0)).toBeCloseTo(8);
    expect(backoff(10, 1, 60, 1)).toBeCloseTo(12);
    expect(backoff(1, 100_000, 60, 0.5)).toBe(60);
  });
});

describe('whyNotToSend', () => {
  const wish: Wish = {
    kind: 'invite',
    createdAt: secondsAgo(3_600),
    expiresAt: '2026-06-08T12:00:00.000Z',
    isSuperseded: false,
    person: { status: 'INVITED', removedAt: null },
    company: {},
  };
  const decide = (changes: Partial<Wish>) => whyNotToSend({ ...wish, ...changes }, NOW);

  it('lets pass what is wanted', () => {
    expect(decide({})).toBeUndefined();
    expect(decide({ kind: 'welcome', expiresAt: null, person: { status: 'ACTIVE', removedAt: null } })).toBeUndefined();
  });

  it.each([
    ['a link that has expired', { expiresAt: secondsAgo(0) }, 'EXPIRED'],
    ['a link after which another was made', { isSuperseded: true }, 'LINK_OUTDATED'],
    ['an invitation that was accepted', { person: { status: 'ACTIVE', removedAt: null } }, 'PERSON_ACTIVE'],
    ['an invitation of somebody deactivated', { person: { status: 'DEACTIVATED', removedAt: null } }, 'PERSON_DEACTIVATED'],
    ['anything to somebody removed', { person: { status: 'INVITED', removedAt: secondsAgo(1) } }, 'PERSON_REMOVED'],
    ['an announcement to somebody who has not joined', { kind: 'announcement' }, 'PERSON_INVITED'],
    ['anything to somebody unheard of for a day', { person: null, createdAt: secondsAgo(90_000) }, 'PERSON_UNKNOWN'],
  ] as [string, Partial<Wish>, string][])('drops %s', (_, changes, reason) => {
    expect(decide(changes)).toEqual({ result: 'SUPPRESSED', reason });
  });

  it.each([
    ['the person', { person: null }],
    ['the company', { company: null }],
    ['a kind that a newer node wrote', { kind: 'from-the-future' }],
    ['news of a status, for a minute', { person: { status: 'DEACTIVATED', removedAt: null }, createdAt: secondsAgo(30) }],
  ] as [string, Partial<Wish>][])('waits for %s', (_, changes) => {
    expect(decide(changes)).toMatchObject({ result: 'WAITING' });
  });

  it('waits a day for the address that a link was sealed for', () => {
    expect(whyNotWithLink(wish, NOW)).toMatchObject({ result: 'WAITING' });
    expect(whyNotWithLink({ ...wish, createdAt: secondsAgo(90_000) }, NOW)).toEqual({
      result: 'SUPPRESSED',
      reason: 'LINK_OUTDATED',
    });
  });
});
