import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { open, openLink, openUnder, type SealKey, seal, sealLink, sealUnder } from '../../mixins/auth/seal';
import { randomToken } from '../../mixins/auth/tokens';

const key = (id: string): SealKey => ({ id, key: randomBytes(32) });
const [old, current] = [key('2026-01'), key('2026-02')];

describe('seal', () => {
  it('is opened by whoever has the key and the same additional data', () => {
    expect(open([current], seal([current], 'Zoë said: héllo.', 'aad'), 'aad')).toBe('Zoë said: héllo.');
    expect(open([current], seal([current], '', ''), '')).toBe('');
  });

  it('never gives the same text twice, and does not show what is in it', () => {
    const [one, two] = [seal([current], 'secret', 'aad'), seal([current], 'secret', 'aad')];
    expect(one).not.toBe(two);
    expect(Buffer.from(one.split('.')[1]!, 'base64url').toString('latin1')).not.toContain('secret');
  });

  it('seals with the first key and opens with any', () => {
    const sealed = seal([old], 'secret', 'aad');
    expect(sealed.startsWith('2026-01.')).toBe(true);
    expect(open([current, old], sealed, 'aad')).toBe('secret');
    expect(seal([current, old], 'secret', 'aad').startsWith('2026-02.')).toBe(true);
  });

  it('does not open without the key, with another key of that name, or with other additional data', () => {
    const sealed = seal([old], 'secret', 'aad');
    expect(() => open([current], sealed, 'aad')).toThrow('not known');
    expect(() => open([key('2026-01')], sealed, 'aad')).toThrow();
    expect(() => open([old], sealed, 'aad2')).toThrow();
  });

  it('does not open when a single bit was changed or something was cut off', () => {
    const [id, text] = seal([old], 'secret', 'aad').split('.');
    const bytes = Buffer.from(text!, 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(() => open([old], `${id}.${changed.toString('base64url')}`, 'aad')).toThrow();
      expect(() => open([old], `${id}.${bytes.subarray(0, at).toString('base64url')}`, 'aad')).toThrow();
    }
  });

  it('says what is missing when there is no key', () => {
    expect(() => seal([], 'secret', 'aad')).toThrow('SEAL_KEYS');
  });
});

describe('sealLink', () => {
  const purpose = { userId: 'u1', kind: 'INVITE', address: 'camille@example.com' };

  it('opens for the person, kind and mailbox that it was made for, and for no other', () => {
    const sealed = sealLink([current], 'token', purpose);
    expect(openLink([current], sealed, purpose)).toBe('token');
    for (const other of [{ userId: 'u2' }, { kind: 'RESET' }, { address: 'other@example.com' }]) {
      expect(() => openLink([current], sealed, { ...purpose, ...other })).toThrow();
    }
  });
});

describe('sealUnder', () => {
  it('opens with the token that it was sealed under, and with no other', () => {
    const [spent, successor] = [randomToken(), randomToken()];
    const sealed = sealUnder(spent, successor);
    expect(openUnder(spent, sealed)).toBe(successor);
    expect(() => openUnder(successor, sealed)).toThrow();
    expect(() => openUnder(spent, sealed.slice(1))).toThrow();
  });
});
