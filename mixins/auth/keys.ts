import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { statSync } from 'node:fs';
import type { ServiceBroker } from 'moleculer';
import { type Config, configOf } from '../config';
import { keyFolder, parseKey, readKeyFiles, writeKeyFile } from './key-files';
import { ACCESS_TOKEN_SECONDS, CLOCK_SKEW_SECONDS } from './lifetimes';

/** A public key as `/.well-known/jwks.json` shows it (RFC 7517). */
export interface PublicJwk {
  kty: 'EC';
  crv: 'P-256';
  x: string;
  y: string;
  kid: string;
  alg: 'ES256';
  use: 'sig';
}

/** Where the keys that tokens are verified with come from. */
export interface KeySource {
  /** The public key of that id, as far as it is known. */
  find(kid: string): KeyObject | undefined;
  /**
   * Looks for keys anew, at most each 10 s: for whoever met an id that is not known.
   * @throws UNAVAILABLE when there is no key at all
   */
  refetch(): Promise<void>;
  /** Only where the keys come from elsewhere: begins to keep the last good set in `copy`, and takes over what it holds. */
  keepIn?(copy: KeyCopy): Promise<void>;
  /** Keeps nothing in `copy` any more. */
  forget?(copy: KeyCopy): void;
}

/** Where the last good set of public keys is kept, so that a node starts while those who publish it are down. */
export interface KeyCopy {
  /** The keys that were kept; none at the very first start. */
  read(): Promise<readonly PublicJwk[]>;
  /** Keeps these instead of those before. */
  write(jwks: readonly PublicJwk[]): Promise<void>;
}

/** A key pair and its id, the thumbprint of RFC 7638. */
export interface SigningKey {
  kid: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
  jwk: PublicJwk;
  /** When it begins to sign, in milliseconds; it is published from its making on. */
  signsFrom: number;
}

/** So long is a key published before it signs: whoever keeps a copy of the public keys has fetched it by then. */
export const PUBLISHED_BEFORE_SIGNING_MS = 3_600_000;
const LAST_TOKEN_MS = (ACCESS_TOKEN_SECONDS + CLOCK_SKEW_SECONDS) * 1_000;
const REFETCH_MS = 10_000;
const POLL_MS = 2_000;

/** A public key on P-256 as it is published; its id is the thumbprint of RFC 7638. */
export function toPublicJwk(publicKey: KeyObject): PublicJwk {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  // Section 3.2: the required members only, in lexicographic order, without whitespace.
  const members = JSON.stringify({ crv: 'P-256', kty: 'EC', x, y });
  return {
    kty: 'EC',
    crv: 'P-256',
    x,
    y,
    kid: createHash('sha256').update(members).digest('base64url'),
    alg: 'ES256',
    use: 'sig',
  };
}

/** The key pair of a private key on P-256. */
export function toSigningKey(privateKey: KeyObject, signsFrom: number): SigningKey {
  const publicKey = createPublicKey(privateKey);
  const jwk = toPublicJwk(publicKey);
  return { kid: jwk.kid, privateKey, publicKey, jwk, signsFrom };
}

/**
 * The key that signs at `now`: the last of those whose time has come.
 * @param keys in the order in which they sign
 */
export function signerAt(keys: readonly SigningKey[], now: number): SigningKey {
  const signer = keys.findLast(key => key.signsFrom <= now);
  if (!signer) throw new Error('There is no key that signs tokens');
  return signer;
}

/** The keys to publish at `now`: one leaves when the last token that it signed has expired. */
export function publishedAt(keys: readonly SigningKey[], now: number): SigningKey[] {
  return keys.filter((_, index) => {
    const successor = keys[index + 1];
    return !successor || now < successor.signsFrom + LAST_TOKEN_MS;
  });
}

/** The signing keys of this process and everything that is derived from them. */
export class KeyStore implements KeySource {
  #keys: readonly SigningKey[];
  #byId = new Map<string, KeyObject>();
  #readAt = Date.now();
  #folderTime: number;
  readonly #timer: NodeJS.Timeout | undefined;

  /**
   * @param read all keys, in the order in which they sign
   * @param folder where they come from, if they may change while the process runs
   * @param onError told of keys that cannot be read; those known before go on
   */
  constructor(
    private readonly read: () => readonly SigningKey[],
    private readonly folder?: string,
    private readonly onError: (error: Error) => void = () => undefined,
  ) {
    this.#folderTime = this.#lookAtFolder();
    this.#keys = this.#use(read());
    if (folder) this.#timer = setInterval(() => this.#poll(), POLL_MS).unref();
  }

  /** The key that signs now. */
  signer(): SigningKey {
    return signerAt(this.#keys, Date.now());
  }

  find(kid: string): KeyObject | undefined {
    return this.#byId.get(kid);
  }

  async refetch(): Promise<void> {
    if (Date.now() - this.#readAt >= REFETCH_MS) this.#reload();
  }

  /** The public keys, as `/.well-known/jwks.json` answers them. */
  jwks(): { keys: PublicJwk[] } {
    return { keys: publishedAt(this.#keys, Date.now()).map(key => key.jwk) };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #poll(): void {
    if (this.#lookAtFolder() !== this.#folderTime) this.#reload();
  }

  #lookAtFolder(): number {
    if (!this.folder) return 0;
    return statSync(this.folder, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  #reload(): void {
    this.#readAt = Date.now();
    // Before reading: what is written meanwhile is seen by the next look.
    this.#folderTime = this.#lookAtFolder();
    try {
      this.#keys = this.#use(this.read());
    } catch (error) {
      this.onError(error as Error);
    }
  }

  #use(keys: readonly SigningKey[]): readonly SigningKey[] {
    if (keys.length === 0) throw new Error('There is no key that signs tokens');
    this.#byId = new Map(keys.map(key => [key.kid, key.publicKey]));
    return keys;
  }
}

/** Keys of files: the oldest signs at once, every other an hour after it was made. */
export function keysOfFolder(folder: string): SigningKey[] {
  return readKeyFiles(folder).map(({ privateKey, createdAt }, index) =>
    toSigningKey(privateKey, index === 0 ? 0 : createdAt + PUBLISHED_BEFORE_SIGNING_MS),
  );
}

/**
 * Keys of the variable JWT_PRIVATE_KEYS: the first signs, the others are published only.
 * @throws when one of them is no PEM block of an EC private key on P-256
 */
export function keysOfPem(text: string): SigningKey[] {
  // Where a variable cannot hold line breaks they are written as \n.
  const blocks = text.replaceAll('\\n', '\n').match(/-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----/g) ?? [];
  if (blocks.length === 0) throw new Error('JWT_PRIVATE_KEYS holds no PEM block');
  const [first, ...others] = blocks.map((block, index) => {
    try {
      return parseKey(block);
    } catch (error) {
      throw new Error(`Key ${index + 1} of JWT_PRIVATE_KEYS cannot be used: ${(error as Error).message}`, { cause: error });
    }
  });
  return [...(first ? [toSigningKey(first, 0)] : []), ...others.map(key => toSigningKey(key, Number.POSITIVE_INFINITY))];
}

/**
 * Opens the private keys that a configuration names; embedded, makes the first one.
 * @throws when there are none: in a mesh only a node that runs users has any
 */
export function openKeyStore({ jwt, mode, dataDir }: Config, onError?: (error: Error) => void): KeyStore {
  const { privateKeys } = jwt;
  if (privateKeys) {
    const keys = keysOfPem(privateKeys);
    return new KeyStore(() => keys);
  }
  if (mode !== 'embedded') throw new Error('JWT_PRIVATE_KEYS is missing');
  const folder = keyFolder(dataDir);
  if (readKeyFiles(folder).length === 0) writeKeyFile(folder, Date.now());
  return new KeyStore(() => keysOfFolder(folder), folder, onError);
}

const KEYS = Symbol.for('hiver.keys');
type Holder = ServiceBroker & { [KEYS]?: KeyStore };

/** The private keys of this broker, for whoever signs; opened at their first use. */
export function keysOf(broker: ServiceBroker): KeyStore {
  const holder = broker as Holder;
  holder[KEYS] ??= openKeyStore(configOf(broker), error =>
    broker.logger.warn(`The signing keys stay as they are: ${error.message}`),
  );
  return holder[KEYS];
}
