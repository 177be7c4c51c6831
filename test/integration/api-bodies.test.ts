import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KNOWN_ID, startThings, type Things } from '../helpers/api';
import { bearer, expectProblem, fieldsOf, json } from '../helpers/http';

let things: Things;
let admin: Record<string, string>;

beforeAll(async () => {
  things = await startThings();
  admin = { ...bearer(things.broker, 'ADMIN'), 'Content-Type': 'application/json' };
});

beforeEach(() => {
  things.seen.calls = 0;
});

const post = (body: RequestInit['body'], headers: Record<string, string> = {}, path = '/things') =>
  fetch(things.url + path, { method: 'POST', headers: { ...admin, ...headers }, body });
const get = (path: string) => fetch(things.url + path);
const create = (value: unknown) => post(JSON.stringify(value));

describe('JSON bodies', () => {
  it.each(['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"'])(
    'are taken as %s',
    async type => {
      expect((await post('{"name":"lamp"}', { 'Content-Type': type })).status).toBe(201);
    },
  );

  it.each([
    'text/plain',
    'text/csv',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/json; charset=latin1',
    'application/jsonx',
    '',
  ])('are refused as "%s"', async type => {
    await expectProblem(await post('{"name":"lamp"}', { 'Content-Type': type }), 415, 'UNSUPPORTED_MEDIA_TYPE');
    expect(things.seen.calls).toBe(0);
  });

  it.each(
    ['{', '', '{"name":"a"', "{'name':'a'}", '{"name":"a"}x', '[]', '[{"name":"a"}]', 'null', '"a"', '1', '{"name":NaN}'].filter(
      Boolean,
    ),
  )('are 400 when they are no JSON object: %s', async body => {
    await expectProblem(await post(body), 400, 'BODY_MALFORMED');
  });

  it('are 400 when they are not UTF-8', async () => {
    await expectProblem(await post(Buffer.from('{"name":"caf\xe9"}', 'latin1')), 400, 'BODY_MALFORMED');
  });

  it.each([10, 40_000, 200_000])('are bounded in depth: %i levels', async levels => {
    const nested = (open: string, close: string) => `{"name":"a","deep":${open.repeat(levels)}1${close.repeat(levels)}}`;
    for (const body of [nested('[', ']'), nested('{"a":', '}')]) {
      const response = await post(body);
      if (levels < 30) expect(response.status).toBe(201);
      else
        await expectProblem(
          response,
          body.length > 1_000_000 ? 413 : 400,
          body.length > 1_000_000 ? 'BODY_TOO_LARGE' : 'BODY_MALFORMED',
        );
    }
  });

  it('may be missing or empty where nothing is asked for', async () => {
    const inits: RequestInit[] = [
      { method: 'POST' },
      json({}),
      { method: 'POST', body: '', headers: { 'Content-Type': 'application/json' } },
    ];
    for (const init of inits) expect((await fetch(`${things.url}/things/touch`, init)).status).toBe(200);
    await expectProblem(await fetch(`${things.url}/things/touch`, json({ x: 1 })), 422, 'VALIDATION_FAILED');
    expect(fieldsOf(await expectProblem(await post(null), 422, 'VALIDATION_FAILED'))).toEqual(['name']);
  });

  it('are ignored where a method has none', async () => {
    const response = await fetch(`${things.url}/things/${KNOWN_ID}`, { method: 'DELETE', headers: admin, body: '{"id":"x"' });
    expect(response.status).toBe(204);
    expect(things.seen.params).toEqual({ id: KNOWN_ID });
  });

  it('name each field that is wrong or unknown', async () => {
    const problem = await expectProblem(await create({ nam: 'a', tags: ['ok', 5] }), 422, 'VALIDATION_FAILED');
    expect(fieldsOf(problem).sort()).toEqual(['nam', 'name', 'tags.1']);
  });

  it('cannot make the answer grow without bound', async () => {
    const body = Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`field${at}${'x'.repeat(20)}`, 1]));
    const problem = await expectProblem(await create({ ...body, ['y'.repeat(300_000)]: 1 }), 422, 'VALIDATION_FAILED');
    expect(problem.errors).toHaveLength(100);
    const long = await expectProblem(await create({ name: 'a', ['y'.repeat(300_000)]: 1 }), 422, 'VALIDATION_FAILED');
    expect(long.errors?.[0]?.field?.length).toBeLessThan(300);
  });

  it.each([
    ['{"name":"a\\u0000b"}', 'name'],
    ['{"name":"a","tags":["\\u0000"]}', 'tags.0'],
    ['{"name":"a","deep":{"b":[{"c":"\\u0000"}]}}', 'deep.b.0.c'],
    ['{"name":"a","deep":{"\\u0000":1}}', 'deep.\0'],
    ['{"name":"\\ud800"}', 'name'],
  ])('are refused with text that no database takes: %s', async (body, field) => {
    expect(fieldsOf(await expectProblem(await post(body), 422, 'VALIDATION_FAILED'))).toEqual([field]);
  });

  it.each([
    ['{"name":"a","__proto__":{"admin":true}}', '__proto__'],
    ['{"name":"a","constructor":{"prototype":{"admin":true}}}', 'constructor'],
    ['{"name":"a","prototype":1}', 'prototype'],
    ['{"name":"a","deep":{"__proto__":{"admin":true}}}', 'deep.__proto__'],
  ])('cannot reach a prototype: %s', async (body, field) => {
    expect(fieldsOf(await expectProblem(await post(body), 422, 'VALIDATION_FAILED'))).toContain(field);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
    expect(things.seen.calls).toBe(0);
  });

  it('cannot say again what stands in the path', async () => {
    const response = await fetch(`${things.url}/things/${KNOWN_ID}`, {
      ...json({ id: KNOWN_ID }, { method: 'PATCH' }),
      headers: admin,
    });
    expect(fieldsOf(await expectProblem(response, 422, 'VALIDATION_FAILED'))).toEqual(['id']);
  });
});

describe('the size of bodies', () => {
  const filler = (bytes: number) => JSON.stringify({ name: 'a', deep: 'x'.repeat(bytes) });

  it('is a megabyte at most', async () => {
    expect((await post(filler(990_000))).status).toBe(201);
    await expectProblem(await post(filler(1_000_001)), 413, 'BODY_TOO_LARGE');
    await expectProblem(await post(filler(8_000_000)), 413, 'BODY_TOO_LARGE');
  });

  it('counts also where it is not announced', async () => {
    const endless = (chunks: number) => {
      let sent = 0;
      return new ReadableStream({
        pull(controller) {
          if (sent++ === chunks) controller.close();
          else controller.enqueue(Buffer.alloc(100_000, ' '));
        },
      });
    };
    const init = { method: 'POST', headers: admin, duplex: 'half' } as const;
    await expectProblem(await fetch(`${things.url}/things`, { ...init, body: endless(60) }), 413, 'BODY_TOO_LARGE');
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)('counts after inflating %s', async (encoding, compress) => {
    const send = (body: Buffer) => post(body as Buffer<ArrayBuffer>, { 'Content-Encoding': encoding });
    expect((await send(compress(filler(900_000)))).status).toBe(201);
    expect(things.seen.params).toMatchObject({ name: 'a' });
    const bomb = compress(Buffer.alloc(200_000_000));
    expect(bomb.length).toBeLessThan(300_000);
    const before = process.memoryUsage().rss;
    await expectProblem(await send(bomb), 413, 'BODY_TOO_LARGE');
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
    await expectProblem(await send(Buffer.from('not compressed')), 400, 'BODY_MALFORMED');
    await expectProblem(await send(compress('{"name":"a"}').subarray(0, 8)), 400, 'BODY_MALFORMED');
  });

  it('counts before inflating, too', async () => {
    const emptyMembers = Buffer.concat(Array.from({ length: 60_000 }, () => gzipSync('')));
    const stream = new Blob([emptyMembers]).stream();
    const init = { method: 'POST', headers: { ...admin, 'Content-Encoding': 'gzip' }, body: stream, duplex: 'half' } as const;
    await expectProblem(await fetch(`${things.url}/things`, init), 413, 'BODY_TOO_LARGE');
  });

  it.each(['zstd', 'compress', 'gzip, gzip', 'constructor'])('says 415 to a body that is encoded as %s', async encoding => {
    await expectProblem(await post('{"name":"a"}', { 'Content-Encoding': encoding }), 415, 'UNSUPPORTED_MEDIA_TYPE');
  });
});

describe('CSV bodies', () => {
  const load = (body: RequestInit['body'], headers: Record<string, string> = {}, query = '') =>
    fetch(`${things.url}/things/load${query}`, { method: 'POST', headers: { 'Content-Type': 'text/csv', ...headers }, body });

  it('arrive as the bytes that they are', async () => {
    const bytes = Buffer.from([0xef, 0xbb, 0xbf, 0x61, 0x00, 0xff, 0x0d, 0x0a]);
    expect(await (await load(bytes, {}, '?dryRun=true')).json()).toEqual({ bytes: 8 });
    expect(things.seen.params).toEqual({ csv: bytes, dryRun: 'true' });
  });

  it('have a limit of their own', async () => {
    expect((await load(Buffer.alloc(2_000_000, 'a'))).status).toBe(200);
    await expectProblem(await load(Buffer.alloc(2_000_001, 'a')), 413, 'BODY_TOO_LARGE');
    await expectProblem(await load(gzipSync(Buffer.alloc(2_000_001)), { 'Content-Encoding': 'gzip' }), 413, 'BODY_TOO_LARGE');
  });

  it('are taken as text/csv only, in UTF-8 only', async () => {
    expect((await load('a', { 'Content-Type': 'text/csv; charset=UTF-8; header=present' })).status).toBe(200);
    for (const type of ['application/json', 'text/plain', 'text/csv; charset=iso-8859-1']) {
      await expectProblem(await load('a', { 'Content-Type': type }), 415, 'UNSUPPORTED_MEDIA_TYPE');
    }
  });
});

describe('queries', () => {
  it('are strings that the action reads', async () => {
    expect((await get('/things?page=2&search=%C3%A9t%C3%A9+x')).status).toBe(200);
    expect(things.seen.params).toEqual({ page: 2, search: 'été x' });
  });

  it.each([
    ['?search=a&search=b', 'search'],
    ['?page=1&page=1', 'page'],
    ['?search[]=a', 'search[]'],
    ['?search[a]=b', 'search[a]'],
    ['?unknown=1', 'unknown'],
    ['?search=%00', 'search'],
    ['?__proto__=x', '__proto__'],
    ['?__proto__[admin]=x', '__proto__[admin]'],
    ['?constructor=x', 'constructor'],
    ['?page=x', 'page'],
  ])('are refused by name: %s', async (query, field) => {
    expect(fieldsOf(await expectProblem(await get(`/things${query}`), 422, 'VALIDATION_FAILED'))).toEqual([field]);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it('say that a parameter was given twice', async () => {
    const problem = await expectProblem(await get('/things?search=a&search=a'), 422, 'VALIDATION_FAILED');
    expect(problem.errors).toEqual([{ field: 'search', message: 'must be given once' }]);
  });

  it('cannot say what belongs into the body or the path', async () => {
    const inQuery = await post('{"name":"a"}', {}, '/things?name=b');
    expect(fieldsOf(await expectProblem(inQuery, 422, 'VALIDATION_FAILED'))).toEqual(['name']);
    const inPath = await get(`/things/${KNOWN_ID}?id=${KNOWN_ID}`);
    expect(fieldsOf(await expectProblem(inPath, 422, 'VALIDATION_FAILED'))).toEqual(['id']);
  });

  it('refuse NUL in a path by the parameter that it stands in', async () => {
    expect(fieldsOf(await expectProblem(await get('/things/a%00b'), 422, 'VALIDATION_FAILED'))).toEqual(['id']);
  });
});
