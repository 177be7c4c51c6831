import { createHmac, type KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { ServiceBroker } from 'moleculer';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Authenticator, authenticatorOf } from '../../mixins/auth/authenticator';
import { generateKey, toPem } from '../../mixins/auth/key-files';
import { type KeySource, toSigningKey } from '../../mixins/auth/keys';
import { ACCESS_TOKEN_SECONDS, CLOCK_SKEW_SECONDS, hashToken, randomToken, signAccessToken } from '../../mixins/auth/tokens';
import { type Config, setConfig } from '../../mixins/config';
import type { Identity } from '../../mixins/contract';

const user: Identity = { id: 'user-1', companyId: 'company-1', role: 'MANAGER', sessionId: 'session-1' };
const key = toSigningKey(generateKey(), 0);
const expected = { issuer: 'hiver', audience: 'hiver' };

function keySource(
  ...known: (typeof key)[]
): KeySource & { refetched: number; remove(kid: string): void; add(added: typeof key): void } {
  const keys = new Map(known.map(({ kid, publicKey }) => [kid, publicKey]));
  return {
    refetched: 0,
    find: kid => keys.get(kid),
    async refetch() {
      this.refetched++;
    },
    remove: kid => keys.delete(kid),
    add: added => keys.set(added.kid, added.publicKey),
  };
}

const claims = { sub: user.id, cid: user.companyId, role: user.role, sid: user.sessionId };
function sign(payload: object = claims, options: jwt.SignOptions = {}, privateKey: KeyObject = key.privateKey): string {
  return jwt.sign(payload, privateKey, {
    algorithm: 'ES256',
    keyid: key.kid,
    expiresIn: 900,
    ...expected,
    ...options,
  });
}

const unauthenticated = expect.objectContaining({ code: 401, type: 'UNAUTHENTICATED' });
const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

afterEach(() => void vi.useRealTimers());

describe('Authenticator.verify', () => {
  it('says who a token was given to', async () => {
    const authenticator = new Authenticator(keySource(key), expected);
    await expect(authenticator.verify(sign())).resolves.toEqual(user);
  });

  it('knows its own identities from those that came otherwise', async () => {
    const authenticator = new Authenticator(keySource(key), expected);
    const own = await authenticator.verify(sign());
    expect(authenticator.isOwn(own)).toBe(true);
    expect(authenticator.isOwn({ ...own })).toBe(false);
    expect(authenticator.isOwn(undefined)).toBe(false);
  });

  const unsigned = `${base64url({ alg: 'none', typ: 'JWT', kid: key.kid })}.${base64url({ ...claims, iss: 'hiver', aud: 'hiver', exp: 9_999_999_999 })}.`;
  // The public key is no secret: whoever takes it for an HMAC key lets everybody sign.
  const head = `${base64url({ alg: 'HS256', kid: key.kid })}.${base64url({ ...claims, iss: 'hiver', aud: 'hiver', exp: 9_999_999_999 })}`;
  const pem = key.publicKey.export({ format: 'pem', type: 'spki' });
  const confused = `${head}.${createHmac('sha256', pem).update(head).digest('base64url')}`;
  const good = sign();
  const [header, , signature] = good.split('.');

  it.each([
    ['no token', undefined],
    ['an empty one', ''],
    ['something else', 'hello'],
    ['three dots', '...'],
    ['one that is not signed', unsigned],
    ['one signed with the public key as a secret', confused],
    ['one signed by somebody else', sign(claims, {}, generateKey())],
    ['one of another issuer', sign(claims, { issuer: 'somebody' })],
    ['one for another audience', sign(claims, { audience: 'somebody' })],
    ['one that never expires', jwt.sign(claims, key.privateKey, { algorithm: 'ES256', keyid: key.kid, ...expected })],
    ['one that has expired', sign(claims, { expiresIn: -CLOCK_SKEW_SECONDS - 1 })],
    ['one without a key id', jwt.sign(claims, key.privateKey, { algorithm: 'ES256', expiresIn: 900, ...expected })],
    ['one without a session', sign({ ...claims, sid: undefined })],
    ['one without a company', sign({ ...claims, cid: undefined })],
    ['one with a role that does not exist', sign({ ...claims, role: 'OWNER' })],
    [
      'one whose claims were changed',
      `${header}.${base64url({ ...claims, role: 'ADMIN', iss: 'hiver', aud: 'hiver', exp: 9_999_999_999 })}.${signature}`,
    ],
    ['one whose signature was cut', good.slice(0, -4)],
  ])('refuses %s', async (_, token) => {
    const authenticator = new Authenticator(keySource(key), expected);
    await expect(authenticator.verify(token)).rejects.toEqual(unauthenticated);
  });

  it('looks at the expiry each time, also of a token that it knows', async () => {
    const authenticator = new Authenticator(keySource(key), expected);
    const token = sign();
    await authenticator.verify(token);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 899_000 });
    await expect(authenticator.verify(token)).resolves.toEqual(user);
    vi.setSystemTime(Date.now() + (CLOCK_SKEW_SECONDS + 2) * 1_000);
    await expect(authenticator.verify(token)).rejects.toEqual(unauthenticated);
  });

  it('looks at ended sessions each time, and at those of others not', async () => {
    const authenticator = new Authenticator(keySource(key), expected);
    const [token, other] = [sign(), sign({ ...claims, sid: 'session-2' })];
    await authenticator.verify(token);
    authenticator.endSession('session-1', Date.now() + 60_000);
    await expect(authenticator.verify(token)).rejects.toEqual(unauthenticated);
    await expect(authenticator.verify(token)).rejects.toEqual(unauthenticated);
    await expect(authenticator.verify(other)).resolves.toMatchObject({ sessionId: 'session-2' });
  });

  it('forgets an ended session when its last token has expired, not before', () => {
    const authenticator = new Authenticator(keySource(key), expected);
    authenticator.endSession('session-1', 1_000);
    authenticator.forgetExpired(1_000);
    expect(authenticator.isEnded('session-1')).toBe(true);
    authenticator.forgetExpired(1_001);
    expect(authenticator.isEnded('session-1')).toBe(false);
  });

  it('asks for keys again when it meets an unknown one', async () => {
    const keys = keySource();
    const authenticator = new Authenticator(keys, expected);
    await expect(authenticator.verify(sign())).rejects.toEqual(unauthenticated);
    expect(keys.refetched).toBe(1);
    keys.add(key);
    await expect(authenticator.verify(sign())).resolves.toEqual(user);
    expect(keys.refetched).toBe(1);
  });

  it('refuses tokens of a key that was taken away, also those that it knows', async () => {
    const keys = keySource(key);
    const authenticator = new Authenticator(keys, expected);
    const token = sign();
    await authenticator.verify(token);
    keys.remove(key.kid);
    await expect(authenticator.verify(token)).rejects.toEqual(unauthenticated);
  });
});

describe('signAccessToken', () => {
  const broker = new ServiceBroker({ logger: false });
  setConfig(broker, { mode: 'mesh', jwt: { ...expected, privateKeys: toPem(key.privateKey) } } as Config);

  it('signs who somebody is, for 15 minutes, and nothing else', () => {
    const before = Math.floor(Date.now() / 1_000);
    const { accessToken, expiresIn } = signAccessToken(broker, user);
    expect(expiresIn).toBe(900);
    expect(jwt.decode(accessToken, { complete: true })?.header).toEqual({ alg: 'ES256', typ: 'JWT', kid: key.kid });
    const { exp, ...said } = jwt.decode(accessToken) as jwt.JwtPayload;
    expect(said).toEqual({ ...claims, iss: 'hiver', aud: 'hiver' });
    expect(exp).toBeGreaterThanOrEqual(before + ACCESS_TOKEN_SECONDS);
    expect(exp).toBeLessThanOrEqual(before + ACCESS_TOKEN_SECONDS + 1);
  });

  it('is understood by the authenticator of the same broker', async () => {
    await expect(authenticatorOf(broker).verify(signAccessToken(broker, user).accessToken)).resolves.toEqual(user);
    expect(authenticatorOf(broker)).toBe(authenticatorOf(broker));
  });
});

describe('randomToken', () => {
  it('has 256 bits, each time others, and is stored as its hash', () => {
    const token = randomToken();
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    expect(randomToken()).not.toBe(token);
    expect(hashToken('abc').toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});
