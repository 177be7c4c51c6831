import type { KeyObject } from 'node:crypto';
import type { ServiceBroker } from 'moleculer';
import { commonProblems } from '../errors';
import { type KeySet, readKeySet } from './key-set';
import type { KeyCopy, KeySource } from './keys';

interface RemoteKeysOptions {
  /** Address of the key set. */
  url: string;
  log: Pick<ServiceBroker['logger'], 'info' | 'warn'>;
  /** Milliseconds between looks: with a set that is known, and without any. */
  every?: { known: number; unknown: number };
}

const EVERY = { known: 5 * 60_000, unknown: 2_000 };
/** Milliseconds between two looks because of ids that are not known: whoever invents ids causes no more. */
const REFETCH_MS = 10_000;
const TIMEOUT_MS = 2_000;
/** Some 300 keys; there are two or three. */
const MAX_BYTES = 64 * 1024;

/**
 * The public keys of the users node, over HTTP. Looks each five minutes, and for an unknown key id at most each ten
 * seconds; until then, and while the users node is down or says nonsense, the last good set is what counts.
 */
export class RemoteKeys implements KeySource {
  #keys: KeySet = new Map();
  /** Whether they were fetched; otherwise they are those that were kept. */
  #isFetched = false;
  readonly #copies = new Map<KeyCopy, { kept?: string }>();
  readonly #abort = new AbortController();
  #looking: Promise<void> | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  /** What was last said of a look that failed. */
  #complaint: string | undefined;

  constructor(private readonly options: RemoteKeysOptions) {
    void this.#look();
  }

  find(kid: string): KeyObject | undefined {
    return this.#keys.get(kid)?.publicKey;
  }

  /**
   * Looks for keys anew, at most each 10 s; everybody who asks meanwhile waits for the same look.
   * @throws UNAVAILABLE when there is no key at all: whether a token is good cannot be said
   */
  async refetch(): Promise<void> {
    const isDue = performance.now() - this.#lookedAt >= REFETCH_MS;
    await (isDue ? this.#look() : this.#looking);
    if (this.#keys.size === 0) throw commonProblems.UNAVAILABLE({ retryAfter: 2 });
  }

  async keepIn(copy: KeyCopy): Promise<void> {
    const state: { kept?: string } = {};
    this.#copies.set(copy, state);
    const jwks = await copy.read();
    state.kept ??= idsOf(jwks.map(({ kid }) => kid));
    if (this.#isFetched) return await this.#write();
    if (this.#keys.size === 0 && jwks.length > 0) this.#keys = readKeySet(JSON.stringify({ keys: jwks })).keys;
  }

  forget(copy: KeyCopy): void {
    this.#copies.delete(copy);
  }

  close(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  #look(): Promise<void> {
    if (this.#looking) return this.#looking;
    clearTimeout(this.#timer);
    this.#lookedAt = performance.now();
    this.#looking = this.#fetch()
      .catch(error => this.#complain(`The keys of ${this.options.url} stay as they are: ${reasonOf(error)}`))
      .finally(() => this.#rest());
    return this.#looking;
  }

  #rest(): void {
    this.#looking = undefined;
    if (this.#abort.signal.aborted) return;
    const { known, unknown } = this.options.every ?? EVERY;
    // One that failed is tried again before long.
    const pause = this.#keys.size === 0 ? unknown : this.#complaint ? Math.min(known, REFETCH_MS) : known;
    this.#timer = setTimeout(() => void this.#look(), pause).unref();
  }

  async #fetch(): Promise<void> {
    const { keys, refused } = readKeySet(await download(this.options.url, this.#abort.signal));
    if (idsOf(keys.keys()) !== idsOf(this.#keys.keys())) {
      this.options.log.info(`Tokens are verified by the keys ${[...keys.keys()].join(', ')}`);
    }
    this.#keys = keys;
    this.#isFetched = true;
    if (refused > 0) this.#complain(`${refused} keys of ${this.options.url} are no keys for ES256 under their thumbprint`);
    else this.#complaint = undefined;
    // Nobody waits for it: what is known counts at once.
    void this.#write();
  }

  async #write(): Promise<void> {
    const ids = idsOf(this.#keys.keys());
    const jwks = [...this.#keys.values()].map(({ jwk }) => jwk);
    for (const [copy, state] of this.#copies) {
      if (state.kept === ids) continue;
      try {
        await copy.write(jwks);
        state.kept = ids;
      } catch (error) {
        // Tried again after the next look.
        this.options.log.warn(`The keys of tokens could not be kept: ${reasonOf(error)}`);
      }
    }
  }

  #complain(complaint: string): void {
    if (this.#abort.signal.aborted || this.#complaint === complaint) return;
    this.#complaint = complaint;
    this.options.log.warn(complaint);
  }
}

/** @throws when it takes too long, is too large or anything but a plain 200 */
async function download(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    redirect: 'manual',
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`it answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    // Leaving the loop ends the connection.
    if (bytes > MAX_BYTES) throw new Error(`it answered more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function idsOf(kids: Iterable<string>): string {
  return [...kids].sort().join(' ');
}

/** `fetch` wraps what went wrong. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || message : message;
}
