import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { canonicalJson, RequestHasher } from '../../mixins/idempotency/request-hash';

const key = (id: string) => ({ id, key: randomBytes(32) });

describe('canonicalJson', () => {
  it('does not depend on the order of fields, at any depth', () => {
    expect(canonicalJson({ a: 1, b: { c: [1, { d: 2, e: 3 }], f: null } })).toBe(
      canonicalJson({ b: { f: null, c: [1, { e: 3, d: 2 }] }, a: 1 }),
    );
  });

  it.each([
    [{ a: 1 }, { a: '1' }],
    [{ a: [1, 2] }, { a: [2, 1] }],
    [{ a: null }, {}],
    [{ a: {} }, { a: [] }],
    [{ a: 1 }, [['a', 1]]],
    [{ a: 1 }, { fields: [['a', 1]] }],
    [{ a: 'b","c":"d' }, { a: 'b', c: 'd' }],
    [JSON.parse('{"__proto__": {"a": 1}}'), {}],
    [{ csv: Buffer.from('a,b') }, { csv: Buffer.from('a,c') }],
    [{ csv: Buffer.from('a') }, { csv: 'a' }],
  ])('tells %j from %j', (one, other) => {
    expect(canonicalJson(one)).not.toBe(canonicalJson(other));
  });

  it('takes an absent field for an undefined one', () => {
    expect(canonicalJson({ a: undefined, b: 1 })).toBe(canonicalJson({ b: 1 }));
    expect(canonicalJson(undefined)).toBe('null');
  });
});

describe('RequestHasher', () => {
  const [old, current] = [key('old'), key('current')];

  it('recognises a request, also by a hash from before the keys were changed', () => {
    const hash = new RequestHasher([old]).hash({ a: 1, b: 2 });
    expect(new RequestHasher([current, old]).matches(hash, { b: 2, a: 1 })).toBe(true);
    expect(new RequestHasher([current, old]).matches(hash, { b: 2, a: 2 })).toBe(false);
    expect(new RequestHasher([current]).matches(hash, { a: 1, b: 2 })).toBe(false);
  });

  it('says what is missing without a key', () => {
    expect(() => new RequestHasher([]).hash({})).toThrow('SEAL_KEYS');
  });
});
