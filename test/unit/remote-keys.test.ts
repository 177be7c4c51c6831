import { generateKeyPairSync } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { generateKey } from '../../mixins/auth/key-files';
import { readKeySet } from '../../mixins/auth/key-set';
import { type KeyCopy, type PublicJwk, toPublicJwk, toSigningKey } from '../../mixins/auth/keys';
import { RemoteKeys } from '../../mixins/auth/remote-keys';
import { until } from '../helpers/until';

const [one, two] = [toSigningKey(generateKey(), 0), toSigningKey(generateKey(), 0)];
const other = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ format: 'jwk' });
const setOf = (...keys: unknown[]) => JSON.stringify({ keys });
const unavailable = expect.objectContaining({ code: 503, type: 'UNAVAILABLE', data: expect.objectContaining({ retryAfter: 2 }) });

/** A server that publishes keys, or whatever it is told to answer. */
class Publisher {
  readonly #server: Server;
  looks = 0;
  answer: RequestListener;

  constructor(answer: string | RequestListener) {
    this.answer = toListener(answer);
    this.#server = createServer((request, response) => {
      this.looks++;
      this.answer(request, response);
    });
  }

  async start(): Promise<string> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/.well-known/jwks.json`;
  }

  say(answer: string | RequestListener): void {
    this.answer = toListener(answer);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function toListener(answer: string | RequestListener): RequestListener {
  return typeof answer === 'string' ? (_, response) => response.end(answer) : answer;
}

class MemoryCopy implements KeyCopy {
  writes = 0;

  constructor(public jwks: readonly PublicJwk[] = []) {}

  async read() {
    return this.jwks;
  }

  async write(jwks: readonly PublicJwk[]) {
    this.writes++;
    this.jwks = jwks;
  }
}

const ends: (() => void)[] = [];
afterEach(() => {
  vi.restoreAllMocks();
  for (const end of ends.splice(0)) end();
});

/** Keys that look often. */
async function follow(answer: string | RequestListener, every = { known: 20, unknown: 20 }) {
  const publisher = new Publisher(answer);
  const url = await publisher.start();
  const said: string[] = [];
  const log = { info: (line: string) => void said.push(line), warn: (line: string) => void said.push(line) };
  const keys = new RemoteKeys({ url, log, every });
  ends.push(
    () => keys.close(),
    () => publisher.stop(),
  );
  return { publisher, keys, said };
}

const SELDOM = { known: 3_600_000, unknown: 3_600_000 };
const isKnown = (keys: RemoteKeys, { kid }: { kid: string }) => keys.find(kid) !== undefined;

describe('a good set', () => {
  it('is known with the first look, and followed when keys come and go', async () => {
    const { publisher, keys } = await follow(setOf(one.jwk));
    await until(() => isKnown(keys, one));
    expect(keys.find(one.kid)!.equals(one.publicKey)).toBe(true);
    publisher.say(setOf(one.jwk, two.jwk));
    await until(() => isKnown(keys, two));
    publisher.say(setOf(two.jwk));
    await until(() => !isKnown(keys, one));
    expect(isKnown(keys, two)).toBe(true);
  });

  it('is kept when it differs, without what belongs to private keys', async () => {
    const { publisher, keys } = await follow(setOf({ ...one.jwk, d: 'secret', more: true }));
    const copy = new MemoryCopy();
    await keys.keepIn(copy);
    await until(() => copy.writes === 1);
    expect(copy.jwks).toEqual([one.jwk]);
    const { looks } = publisher;
    await until(() => publisher.looks > looks + 2);
    expect(copy.writes).toBe(1);
    publisher.say(setOf(two.jwk));
    await until(() => copy.writes === 2);
    expect(copy.jwks).toEqual([two.jwk]);
  });

  it('is kept at a later look when the copy was out of reach', async () => {
    const { keys, said } = await follow(setOf(one.jwk));
    const copy = new MemoryCopy();
    let isDown = true;
    await keys.keepIn({
      read: async () => copy.jwks,
      write: async jwks => {
        if (isDown) throw new Error('the copy is away');
        await copy.write(jwks);
      },
    });
    await until(() => said.some(line => line.includes('the copy is away')));
    isDown = false;
    await until(() => copy.jwks.length === 1);
  });
});

describe('a bad answer', () => {
  const bad: [string, string | RequestListener][] = [
    ['an error', (_, response) => response.writeHead(500).end(setOf(two.jwk))],
    ['a redirect', (_, response) => response.writeHead(302, { location: '/elsewhere' }).end(setOf(two.jwk))],
    ['an empty set', setOf()],
    ['no JSON', '<html>'],
    ['other JSON', '[1, 2]'],
    ['nothing', ''],
    ['a key of another curve', setOf(toOther())],
    ['a key under an id of its own choice', setOf({ ...two.jwk, kid: one.kid })],
    ['a key that is not on the curve', setOf({ ...two.jwk, y: two.jwk.x })],
    ['a key for something else', setOf({ ...two.jwk, use: 'enc' })],
    ['more than 64 kB', setOf(two.jwk, 'x'.repeat(70_000))],
    ['an end without a beginning', (request, _) => request.socket.destroy()],
  ];

  it.each(bad)('leaves the last good set as it is: %s', async (_, answer) => {
    const { publisher, keys, said } = await follow(setOf(one.jwk), { known: 20, unknown: 3_600_000 });
    const copy = new MemoryCopy();
    await keys.keepIn(copy);
    await until(() => copy.writes === 1);
    const { looks } = publisher;
    publisher.say(answer);
    await until(() => publisher.looks >= looks + 2 && said.some(line => line.includes('stay as they are')));
    expect(isKnown(keys, one)).toBe(true);
    expect(isKnown(keys, two)).toBe(false);
    expect(copy).toMatchObject({ writes: 1, jwks: [one.jwk] });
    publisher.say(setOf(two.jwk));
    await until(() => isKnown(keys, two));
  });

  it.each(bad)('is no set to begin with: %s', async (_, answer) => {
    const { publisher, keys } = await follow(answer);
    await until(() => publisher.looks > 1);
    await expect(keys.refetch()).rejects.toEqual(unavailable);
    publisher.say(setOf(one.jwk));
    await until(() => isKnown(keys, one));
    await keys.refetch();
  });

  it('does not spoil the good keys beside it', async () => {
    const { keys, said } = await follow(setOf(toOther(), { ...two.jwk, kid: 'mine' }, one.jwk));
    await until(() => isKnown(keys, one));
    expect(said.join()).toContain('2 keys');
    expect(readKeySet(setOf(one.jwk, 1, null)).refused).toBe(2);
  });
});

describe('an unknown key id', () => {
  it('causes one look for all who ask, and no other within ten seconds', async () => {
    const { publisher, keys } = await follow(setOf(one.jwk), SELDOM);
    await until(() => isKnown(keys, one));
    const now = performance.now.bind(performance);
    let ahead = 10_001;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + ahead);
    publisher.say(setOf(one.jwk, two.jwk));
    await Promise.all(Array.from({ length: 200 }, () => keys.refetch()));
    expect(isKnown(keys, two)).toBe(true);
    expect(publisher.looks).toBe(2);
    for (let nth = 0; nth < 200; nth++) await keys.refetch();
    ahead += 8_000;
    await keys.refetch();
    expect(publisher.looks).toBe(2);
    ahead += 2_001;
    await keys.refetch();
    expect(publisher.looks).toBe(3);
  });

  it('is answered within seconds by a server that accepts and says nothing', async () => {
    const { publisher, keys } = await follow(() => undefined, SELDOM);
    const asked = performance.now();
    await expect(Promise.all([keys.refetch(), keys.refetch()])).rejects.toEqual(unavailable);
    expect(performance.now() - asked).toBeLessThan(5_000);
    expect(publisher.looks).toBe(1);
    // The look is over: whoever comes now waits for nothing.
    await expect(keys.refetch()).rejects.toEqual(unavailable);
    expect(publisher.looks).toBe(1);
  });

  it('is answered within seconds by a server that begins and does not end', async () => {
    const { keys, said } = await follow((_, response) => void response.write('{"keys": ['), SELDOM);
    await expect(keys.refetch()).rejects.toEqual(unavailable);
    expect(said.join()).toContain('stay as they are');
  });
});

describe('a copy', () => {
  it('is what counts while there is nothing else', async () => {
    const { keys, publisher } = await follow((_, response) => response.writeHead(503).end());
    await keys.keepIn(new MemoryCopy([one.jwk]));
    expect(isKnown(keys, one)).toBe(true);
    await keys.refetch();
    publisher.say(setOf(two.jwk));
    await until(() => isKnown(keys, two));
    expect(isKnown(keys, one)).toBe(false);
  });

  it('never takes the place of what was fetched', async () => {
    const { keys } = await follow(setOf(two.jwk));
    await until(() => isKnown(keys, two));
    const copy = new MemoryCopy([one.jwk]);
    await keys.keepIn(copy);
    expect(isKnown(keys, one)).toBe(false);
    await until(() => copy.jwks[0]?.kid === two.kid);
  });

  it('is not written any more when nobody keeps it', async () => {
    const { keys, publisher } = await follow(setOf(one.jwk));
    const copy = new MemoryCopy();
    await keys.keepIn(copy);
    await until(() => copy.writes === 1);
    keys.forget(copy);
    publisher.say(setOf(two.jwk));
    await until(() => isKnown(keys, two));
    expect(copy.jwks).toEqual([one.jwk]);
  });
});

/** A key on P-384, under the id that it would have. */
function toOther(): object {
  return { ...toPublicJwk(one.publicKey), ...other, kid: 'p-384', alg: 'ES384' };
}
