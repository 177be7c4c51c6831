import type { ServiceSchema } from 'moleculer';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { action, contract, Nothing } from '../../mixins/contract';
import { problems } from '../../mixins/errors';
import { Id } from '../../mixins/fields';
import { openApiDocument } from '../../services/api/openapi';

const { LAMPS_BROKEN } = problems({ LAMPS_BROKEN: [409, 'That lamp is broken.'] });

const name = z
  .string()
  .max(50)
  .meta({ examples: ['Desk'] });
const Lamp = z.object({ id: Id, name: z.string().max(50) }).meta({ id: 'Lamp' });

/** A service with one action that answers nothing. */
function service(params: z.ZodType, facts: object = {}, returns: z.ZodType = Nothing): ServiceSchema {
  const definition = { summary: 'Do it', rest: 'POST /:id/do', auth: ['ADMIN'] as const, handler: () => undefined, ...facts };
  return {
    name: 'lamps',
    metadata: { description: 'Lamps.' },
    actions: { do: action(contract('lamps.do', { params, returns, problems: [LAMPS_BROKEN] }), definition as never) },
  };
}

const build = (...services: ServiceSchema[]) => openApiDocument(services, '1.2.3');
const operationOf = (document: ReturnType<typeof build>, path = '/lamps/{id}/do', method = 'post') => {
  const operation = document.paths[path]?.[method];
  if (!operation) throw new Error(`${method} ${path} is not there: ${Object.keys(document.paths)}`);
  return operation as any;
};

describe('the OpenAPI document', () => {
  it('sorts parameters into path, query and body', () => {
    const params = z.strictObject({
      id: Id,
      name,
      size: z.int().min(1).optional(),
      dryRun: z.enum(['true', 'false']).optional(),
    });
    const { parameters, requestBody } = operationOf(build(service(params, { query: ['dryRun'] })));
    expect(parameters.slice(0, 2)).toMatchObject([
      { name: 'id', in: 'path', required: true, schema: { type: 'string', format: 'uuid', maxLength: 36 } },
      { name: 'dryRun', in: 'query', required: false, schema: { enum: ['true', 'false'] } },
    ]);
    expect(requestBody.required).toBe(true);
    expect(requestBody.content['application/json'].schema).toMatchObject({ required: ['name'], additionalProperties: false });
    expect(Object.keys(requestBody.content['application/json'].schema.properties)).toEqual(['name', 'size']);
    expect(requestBody.content['application/json'].example).toEqual({ name: 'Desk', size: 1 });
    expect(params.safeParse({ ...requestBody.content['application/json'].example, id: crypto.randomUUID() }).success).toBe(true);
  });

  it('puts parameters of methods without a body into the query', () => {
    const params = z.strictObject({ name: name.optional() });
    const list = operationOf(build(service(params, { rest: 'GET /', auth: 'public' })), '/lamps', 'get');
    expect(list.parameters[0]).toMatchObject({ name: 'name', in: 'query', required: false });
    expect(list).not.toHaveProperty('requestBody');
    expect([list.security, list['x-roles']]).toEqual([[], []]);
  });

  it('declares every refusal with its codes', () => {
    const { responses, security, ...operation } = operationOf(
      build(service(z.strictObject({ id: Id }), { status: 204, versioned: true })),
    );
    expect(Object.keys(responses).map(Number)).toEqual([204, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503]);
    expect(responses[409].content['application/problem+json'].schema.allOf[1].properties.code.enum).toEqual([
      'LAMPS_BROKEN',
      'CONFLICT',
      'IDEMPOTENCY_IN_PROGRESS',
    ]);
    expect([security, operation['x-roles']]).toEqual([[{ bearer: [] }], ['ADMIN']]);
    expect(operation.description).toContain('ADMIN');
    expect(responses[204]).not.toHaveProperty('content');
  });

  it('declares headers, and both statuses where there are two', () => {
    const facts = { status: 201, otherStatus: 200, location: '/lamps/{id}', versioned: true, rest: 'POST /', secret: true };
    const { responses, parameters } = operationOf(build(service(z.strictObject({ name }), facts, Lamp)), '/lamps');
    expect(Object.keys(responses[201].headers)).toEqual(['X-Request-Id', 'Location', 'ETag', 'Idempotency-Replayed']);
    expect(Object.keys(responses[200].headers)).not.toContain('Location');
    expect(responses[201].content['application/json'].schema).toEqual({ $ref: '#/components/schemas/Lamp' });
    expect(parameters).toContainEqual({ $ref: '#/components/parameters/IdempotencyKey' });
    expect(parameters).not.toContainEqual({ $ref: '#/components/parameters/IfMatch' });
    expect(responses[409].content['application/problem+json'].schema.allOf[1].properties.code.enum).toContain(
      'IDEMPOTENCY_ANSWER_NOT_KEPT',
    );
  });

  it('leaves out what is not published', () => {
    const { paths } = build(service(z.strictObject({}), { rest: undefined, auth: 'internal' }));
    expect(Object.keys(paths)).toEqual(['/docs', '/openapi.json']);
  });

  it('lists every code there is', () => {
    const { description } = build().info as { description: string };
    for (const code of ['LAMPS_BROKEN', 'NOT_FOUND', 'VALIDATION_FAILED']) expect(description).toContain(`\`${code}\``);
  });

  it.each([
    [
      'a string without bound',
      z.strictObject({ id: Id, name: z.string().meta({ examples: ['x'] }) }),
      'lamps.do.name is a string without a maximum length',
    ],
    ['one deeper down', z.strictObject({ id: Id, names: z.array(z.string()) }), 'lamps.do.names.items is a string without'],
    ['a body without example', z.strictObject({ id: Id, name: z.string().max(5) }), 'lamps.do.name has no example'],
  ])('is not built with %s', (_, params, message) => {
    expect(() => build(service(params))).toThrow(message);
  });

  it('is not built when one id means two schemas', () => {
    const shade = (shape: z.ZodRawShape) => z.object({ shade: z.object(shape).meta({ id: 'LampShade' }) });
    const one = service(z.strictObject({}), { rest: 'GET /a', auth: 'public' }, shade({ id: Id }));
    const other = service(z.strictObject({}), { rest: 'GET /b', auth: 'public' }, shade({ name }));
    expect(() => build(one, one)).not.toThrow();
    expect(() => build(one, other)).toThrow('Two schemas have the id LampShade');
  });
});
