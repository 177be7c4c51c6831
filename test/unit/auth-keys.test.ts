import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBroker } from 'moleculer';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { generateKey, keyFolder, toPem, writeKeyFile } from '../../mixins/auth/key-files';
import { keySourceOf } from '../../mixins/auth/key-source';
import { type KeyStore, keysOfPem, openKeyStore, publishedAt, signerAt, toPublicJwk, toSigningKey } from '../../mixins/auth/keys';
import { type Config, setConfig } from '../../mixins/config';
import { until } from '../helpers/until';

const HOUR = 3_600_000;
const MINUTE = 60_000;

let dataDir: string;
let store: KeyStore | undefined;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'hiver-keys-'));
});
afterEach(() => {
  vi.useRealTimers();
  store?.close();
  store = undefined;
  rmSync(dataDir, { recursive: true, force: true });
});

function embedded(onError?: (error: Error) => void): KeyStore {
  const config = { mode: 'embedded', dataDir, jwt: { issuer: 'i', audience: 'a', privateKeys: undefined } } as Config;
  store = openKeyStore(config, onError);
  return store;
}

const idsOf = (keys: KeyStore) => keys.jwks().keys.map(({ kid }) => kid);

describe('toPublicJwk', () => {
  it('names a key by the thumbprint of RFC 7638: the example of RFC 9449, 6.1', () => {
    const publicKey = createPublicKey({
      format: 'jwk',
      key: {
        kty: 'EC',
        crv: 'P-256',
        x: 'l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs',
        y: '9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA',
      },
    });
    expect(toPublicJwk(publicKey).kid).toBe('0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I');
  });

  it('shows nothing of the private key', () => {
    const { jwk } = toSigningKey(generateKey(), 0);
    expect(Object.keys(jwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  });
});

describe('a succession of keys', () => {
  const [first, second, third] = [
    toSigningKey(generateKey(), 0),
    toSigningKey(generateKey(), HOUR),
    toSigningKey(generateKey(), 5 * HOUR),
  ];
  const keys = [first, second, third];

  it('signs with the last key whose time has come', () => {
    expect(signerAt(keys, HOUR - 1)).toBe(first);
    expect(signerAt(keys, HOUR)).toBe(second);
    expect(signerAt(keys, 5 * HOUR)).toBe(third);
  });

  it('publishes a key until the last token that it signed has expired', () => {
    const lastToken = 15 * MINUTE + 10_000;
    expect(publishedAt(keys, HOUR + lastToken - 1)).toEqual(keys);
    expect(publishedAt(keys, HOUR + lastToken)).toEqual([second, third]);
    expect(publishedAt(keys, 5 * HOUR + lastToken)).toEqual([third]);
  });
});

describe('an embedded key store', () => {
  it('makes its first key itself, for its owner only, and signs with it at once', () => {
    const keys = embedded();
    const folder = keyFolder(dataDir);
    const [file = ''] = readdirSync(folder);
    expect(readdirSync(folder)).toHaveLength(1);
    expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(idsOf(keys)).toEqual([keys.signer().kid]);
    expect(keys.find(keys.signer().kid)).toBe(keys.signer().publicKey);
  });

  it('finds the same key at the next start', () => {
    const { kid } = embedded().signer();
    store?.close();
    expect(embedded().signer().kid).toBe(kid);
  });

  it('publishes a new key within seconds, signs with it after an hour, then lets the old one go', async () => {
    const keys = embedded();
    const old = keys.signer().kid;
    const now = Date.now();
    const next = toSigningKey(writeKeyFile(keyFolder(dataDir), now).privateKey, 0).kid;

    await until(() => idsOf(keys).includes(next));
    expect(idsOf(keys)).toEqual([old, next]);
    expect(keys.signer().kid).toBe(old);

    vi.useFakeTimers({ toFake: ['Date'], now: now + HOUR + 1_000 });
    expect(keys.signer().kid).toBe(next);
    expect(idsOf(keys)).toEqual([old, next]);

    vi.setSystemTime(now + HOUR + 16 * MINUTE);
    expect(idsOf(keys)).toEqual([next]);
  });

  it('goes on with the keys that it knows when a file cannot be read, and says so', async () => {
    const errors: string[] = [];
    const keys = embedded(error => errors.push(error.message));
    const { kid } = keys.signer();
    writeFileSync(join(keyFolder(dataDir), '2026-01-01T00-00-00.000Z.pem'), 'damaged');
    await until(() => errors.length > 0);
    expect(errors[0]).toContain('2026-01-01T00-00-00.000Z.pem');
    expect(keys.signer().kid).toBe(kid);
  });

  it('refuses to start with a damaged file, and names it', () => {
    embedded().close();
    writeFileSync(join(keyFolder(dataDir), '2026-01-01T00-00-00.000Z.pem'), 'damaged');
    expect(() => embedded()).toThrow('2026-01-01T00-00-00.000Z.pem cannot be used');
  });

  it('looks anew for an unknown key at most each 10 seconds', async () => {
    const keys = embedded();
    keys.close(); // without its own looking
    const kid = toSigningKey(writeKeyFile(keyFolder(dataDir), Date.now()).privateKey, 0).kid;
    await keys.refetch();
    expect(keys.find(kid)).toBeUndefined();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10_001 });
    await keys.refetch();
    expect(keys.find(kid)).toBeDefined();
  });
});

describe('JWT_PRIVATE_KEYS', () => {
  const [one, two] = [generateKey(), generateKey()];
  const kid = (key: typeof one) => toSigningKey(key, 0).kid;

  it('signs with the first key and publishes all', () => {
    const keys = keysOfPem(toPem(one) + toPem(two));
    expect(signerAt(keys, Date.now()).kid).toBe(kid(one));
    expect(publishedAt(keys, Date.now()).map(key => key.kid)).toEqual([kid(one), kid(two)]);
  });

  it('may write line breaks as \\n', () => {
    expect(keysOfPem(toPem(one).replaceAll('\n', '\\n')).map(key => key.kid)).toEqual([kid(one)]);
  });

  it('takes keys of no other kind', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
    const other = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    const pem = (key: typeof rsa) => key.export({ format: 'pem', type: 'pkcs8' }).toString();
    expect(() => keysOfPem(toPem(one) + pem(rsa))).toThrow('Key 2 of JWT_PRIVATE_KEYS');
    expect(() => keysOfPem(pem(other))).toThrow('P-256');
    expect(() => keysOfPem('hello')).toThrow('JWT_PRIVATE_KEYS holds no PEM block');
  });

  it('has no default outside embedded mode', () => {
    const config = { mode: 'mesh', dataDir, jwt: { issuer: 'i', audience: 'a', privateKeys: undefined } } as Config;
    expect(() => openKeyStore(config)).toThrow('JWT_PRIVATE_KEYS is missing');
    const broker = new ServiceBroker({ logger: false });
    setConfig(broker, config);
    expect(() => keySourceOf(broker)).toThrow('JWKS_URL is missing');
  });
});
