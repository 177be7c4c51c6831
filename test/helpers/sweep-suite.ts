import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { App } from './app';
import { expectDeclared, type Operation, readOperations, resolve } from './operations';
import { type Answered, type Company, nobody, Sweep, wrongBodies, wrongText } from './sweep';

const operations = readOperations();
const ROLES = ['ADMIN', 'MANAGER', 'EMPLOYEE'] as const;

const fieldsOf = ({ body }: Answered): string[] => (body.errors ?? []).map(({ field }: { field: string }) => field);
const takesBody = ({ method }: Operation) => ['POST', 'PUT', 'PATCH'].includes(method);
const isInPath = ({ path }: Operation) => path.includes('{');
const queryOf = ({ parameters }: Operation) => parameters.filter(parameter => parameter.in === 'query');
const has = ({ parameters }: Operation, header: string) => parameters.some(({ name }) => name === header);
const isList = ({ responses }: Operation) =>
  'rows' in (resolve(responses[200]?.content?.['application/json']?.schema ?? {}).properties ?? {});
const isVersioned = ({ responses }: Operation) => Object.values(responses).some(({ headers }) => headers && 'ETag' in headers);

/**
 * Describes what every operation of openapi.json must do.
 * @param start starts what is swept; its `url` is the front door
 */
export function describeSweep(start: () => Promise<Pick<App, 'url' | 'config'>>): void {
  let sweep: Sweep;
  let ours: Company;
  let theirs: Company;

  beforeAll(async () => {
    sweep = new Sweep(await start(), operations);
    ours = await sweep.company();
    theirs = await sweep.company();
  });

  describe('the sweep', () => {
    const [operation] = operations.filter(({ id }) => id === 'teams.create');
    const answer = (status: number, body: unknown, type = 'application/json') =>
      new Response(JSON.stringify(body), {
        status,
        headers: { 'Content-Type': type, 'X-Request-Id': 'x', Location: '/', 'Retry-After': '1' },
      });

    it('knows the operations that there are', () => {
      expect(operations.length).toBeGreaterThan(20);
      expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length);
    });

    it('fails on what it cannot fill in', async () => {
      const lamp = {
        type: 'application/json',
        isRequired: true,
        example: {},
        schema: { properties: { lampId: { format: 'uuid' } } },
      };
      await expect(sweep.bodyFor({ ...operation!, body: lamp }, ours)).rejects.toThrow('whose id is lampId');
      await expect(sweep.idsFor({ ...operation!, path: '/lamps/{id}' }, ours)).rejects.toThrow(
        'Nothing makes what stands in /lamps',
      );
      await expect(sweep.read({ ...operation!, path: '/lamps/{id}/on' }, {}, ours)).rejects.toThrow('Nothing reads /lamps/{id}');
    });

    it('fails on an answer that is not declared', async () => {
      const problem = { type: 'urn:x', title: 'x', status: 409, code: 'TEAMS_NAME_TAKEN', requestId: 'x' };
      const check = (response: Response) => expectDeclared(operation!, response);
      await check(answer(409, problem, 'application/problem+json'));
      await expect(check(answer(418, problem, 'application/problem+json'))).rejects.toThrow('418');
      await expect(check(answer(409, problem))).rejects.toThrow('application/problem+json');
      await expect(check(answer(409, { ...problem, code: 'UNHEARD_OF' }, 'application/problem+json'))).rejects.toThrow(
        'UNHEARD_OF',
      );
      await expect(check(answer(409, { ...problem, title: 5 }, 'application/problem+json'))).rejects.toThrow('title');
      await expect(check(answer(201, { id: 'x' }))).rejects.toThrow('Invalid UUID');
    });
  });

  describe.each(operations)('$method $path', operation => {
    const success = (answered: Answered) => expect(answered.status, JSON.stringify(answered.body)).toBeLessThan(300);
    const refused = (answered: Answered, status: number, code?: string) => {
      expect({ status: answered.status, code: answered.body?.code }).toEqual({ status, code: code ?? answered.body?.code });
    };

    it('succeeds as described, when it is called as described', async () => {
      success(await sweep.send(operation, ours));
    });

    it('answers OPTIONS with its methods', async () => {
      const url = sweep.app.url + operation.path.replace(/\{\w+\}/g, nobody());
      const response = await fetch(url, { method: 'OPTIONS' });
      expect(response.status).toBe(204);
      expect(response.headers.get('allow')?.split(', ')).toContain(operation.method);
    });

    it('refuses methods that it does not have', async () => {
      const url = sweep.app.url + operation.path.replace(/\{\w+\}/g, nobody());
      const response = await fetch(url, { method: 'PUT' });
      expect(response.status).toBe(405);
      expect(response.headers.get('allow')?.split(', ')).toContain(operation.method);
    });

    if (operation.roles.length > 0) {
      it('says 401 without a token, and to one that is none, whatever else is wrong', async () => {
        const path = isInPath(operation) ? await sweep.idsFor(operation, ours) : {};
        for (const token of [null, 'x', 'a.b.c']) {
          refused(await sweep.send(operation, ours, { token, path }), 401, 'UNAUTHENTICATED');
          if (takesBody(operation))
            refused(await sweep.send(operation, ours, { token, path, body: '{' }), 401, 'UNAUTHENTICATED');
        }
      });

      for (const role of ROLES.filter(role => !operation.roles.includes(role))) {
        it(`says 403 to ${role}, and changes nothing`, async () => {
          const path = await sweep.idsFor(operation, ours);
          const before = isInPath(operation) && (await sweep.read(operation, path, ours));
          refused(await sweep.send(operation, ours, { role, path }), 403, 'FORBIDDEN');
          if (takesBody(operation)) refused(await sweep.send(operation, ours, { role, path, body: '{' }), 403, 'FORBIDDEN');
          expect(isInPath(operation) && (await sweep.read(operation, path, ours))).toEqual(before);
        });
      }

      for (const role of ROLES.filter(role => operation.roles.includes(role))) {
        it(`lets ${role} in`, async () => {
          const { status } = await sweep.send(operation, ours, { role });
          expect(status).not.toBe(401);
          expect(status).not.toBe(403);
        });
      }
    }

    if (isInPath(operation)) {
      it('says 404 for an id of another company, and changes nothing', async () => {
        const path = await sweep.idsFor(operation, theirs);
        const before = await sweep.read(operation, path, theirs);
        refused(await sweep.send(operation, ours, { path }), 404);
        expect(await sweep.read(operation, path, theirs)).toEqual(before);
      });

      it('says 404 for an id that nothing has, and for one that is no UUID', async () => {
        const names = operation.parameters.filter(parameter => parameter.in === 'path').map(({ name }) => name);
        for (const id of [nobody(), 'no-uuid', '1', '%']) {
          refused(await sweep.send(operation, ours, { path: Object.fromEntries(names.map(name => [name, id])) }), 404);
        }
      });
    }

    if (takesBody(operation)) {
      it('says 415 to another content type, and 400 to what cannot be parsed', async () => {
        const path = await sweep.idsFor(operation, ours);
        const headers = { 'Content-Type': 'text/plain' };
        refused(await sweep.send(operation, ours, { path, headers, body: 'x' }), 415, 'UNSUPPORTED_MEDIA_TYPE');
        if (operation.body?.type === 'text/csv') return;
        for (const body of ['{', '[]', 'null', '{"a":1}}'])
          refused(await sweep.send(operation, ours, { path, body }), 400, 'BODY_MALFORMED');
      });

      it('says 422 to a body that is not as described, and names the field', async () => {
        const path = await sweep.idsFor(operation, ours);
        const good = await sweep.bodyFor(operation, ours);
        const before = isInPath(operation) && (await sweep.read(operation, path, ours));
        if (typeof good === 'string') {
          for (const body of ['', 'garbage', '\0']) refused(await sweep.send(operation, ours, { path, body }), 422);
          return;
        }
        const schema = operation.body?.schema ?? {};
        for (const { field, body } of wrongBodies(schema, (good ?? {}) as Record<string, unknown>)) {
          const answered = await sweep.send(operation, ours, { path, body });
          refused(answered, 422, 'VALIDATION_FAILED');
          expect(
            fieldsOf(answered).some(named => named === field || named.startsWith(`${field}.`)),
            `${field} in ${fieldsOf(answered)}`,
          ).toBe(true);
        }
        expect(isInPath(operation) && (await sweep.read(operation, path, ours))).toEqual(before);
      });

      it('takes no ids of another company in its body', async () => {
        const path = await sweep.idsFor(operation, ours);
        const good = await sweep.bodyFor(operation, ours);
        if (typeof good !== 'object' || good === null) return;
        const foreign = (await sweep.bodyFor(operation, theirs)) as Record<string, unknown>;
        for (const name of Object.keys(good).filter(name => /Ids?$/.test(name))) {
          const { status } = await sweep.send(operation, ours, { path, body: { ...good, [name]: foreign[name] } });
          expect(status, name).toBeOneOf([404, 422]);
        }
      });
    }

    if (!operation.id.startsWith('docs.')) {
      it('says 422 to a query that is not as described, and names the parameter', async () => {
        const path = await sweep.idsFor(operation, ours);
        const unknown = await sweep.send(operation, ours, { path, query: { sweepUnknown: '1' } });
        refused(unknown, 422, 'VALIDATION_FAILED');
        expect(fieldsOf(unknown)).toContain('sweepUnknown');
        for (const parameter of queryOf(operation)) {
          const answered = await sweep.send(operation, ours, { path, query: { [parameter.name]: wrongText(parameter) } });
          refused(answered, 422, 'VALIDATION_FAILED');
          expect(fieldsOf(answered)).toContain(parameter.name);
        }
      });
    }

    if (isList(operation)) {
      it('pages', async () => {
        const list = (query: Record<string, string>) => sweep.send(operation, ours, { query });
        const { body } = await list({});
        success(await list({ pageSize: '100', page: '100' }));
        if (has(operation, 'cursor')) {
          expect(body).toHaveProperty('nextCursor');
          refused(await list({ limit: '101' }), 422);
          return;
        }
        expect(body).toMatchObject({ page: 1, totalIsExact: true });
        expect(body.totalPages).toBe(Math.ceil(body.total / body.pageSize));
        const one = (await list({ pageSize: '1' })).body;
        expect([one.rows.length, one.pageSize, one.total]).toEqual([Math.min(1, body.total), 1, body.total]);
        for (const query of [
          { pageSize: '101' },
          { pageSize: '0' },
          { page: '0' },
          { page: '-1' },
          { page: '1.5' },
          { page: '101', pageSize: '100' },
        ]) {
          refused(await list(query as unknown as Record<string, string>), 422, 'VALIDATION_FAILED');
        }
      });

      it('sorts by what it says, and by nothing else', async () => {
        if (!has(operation, 'sort')) return;
        for (const sort of ['passwordHash', 'id;drop', '-', 'lastName,,']) {
          refused(await sweep.send(operation, ours, { query: { sort } }), 422, 'VALIDATION_FAILED');
        }
      });

      it('shows nothing of another company', async () => {
        const idsIn = async (company: Company) => {
          const { body } = await sweep.send(operation, company, { query: { pageSize: '100' } });
          return body.rows.map(({ id }: { id: string }) => id) as string[];
        };
        const [here, there] = [await idsIn(ours), await idsIn(theirs)];
        expect(here.filter(id => there.includes(id))).toEqual([]);
      });
    }

    if (has(operation, 'Idempotency-Key')) {
      it('repeats its answer for a repeated Idempotency-Key, and refuses another request with it', async () => {
        const headers = { 'Idempotency-Key': randomUUID() };
        const path = await sweep.idsFor(operation, ours);
        const body = await sweep.bodyFor(operation, ours);
        const first = await sweep.send(operation, ours, { path, body, headers });
        success(first);
        expect(first.headers.get('idempotency-replayed')).toBeNull();
        const again = await sweep.send(operation, ours, { path, body, headers });
        if (again.status === 409) {
          refused(again, 409, 'IDEMPOTENCY_ANSWER_NOT_KEPT');
        } else {
          expect(again.headers.get('idempotency-replayed')).toBe('true');
          for (const name of ['location', 'etag']) expect(again.headers.get(name)).toBe(first.headers.get(name));
          expect({ status: again.status, body: again.body }).toEqual({ status: first.status, body: first.body });
        }
        const other = { path: await sweep.idsFor(operation, ours), body: await sweep.bodyFor(operation, ours) };
        refused(await sweep.send(operation, ours, { ...other, headers }), 422, 'IDEMPOTENCY_KEY_REUSED');
      });
    }

    if (isVersioned(operation)) {
      it('answers the version as ETag', async () => {
        const { headers, body } = await sweep.send(operation, ours);
        expect(headers.get('etag')).toBe(`"${body.version}"`);
      });
    }

    if (has(operation, 'If-Match')) {
      it('says 412 to a change of an old version, and changes nothing', async () => {
        const path = await sweep.idsFor(operation, ours);
        const before = (await sweep.read(operation, path, ours)) as { version: number };
        for (const stale of ['"999999"', `W/"${before.version}"`, 'x']) {
          refused(await sweep.send(operation, ours, { path, headers: { 'If-Match': stale } }), 412, 'VERSION_MISMATCH');
        }
        expect(await sweep.read(operation, path, ours)).toEqual(before);
        success(await sweep.send(operation, ours, { path, headers: { 'If-Match': `"${before.version}"` } }));
      });
    }
  });
}
