import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import * as z from 'zod';

/** As much of JSON Schema as our contracts come to. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  maxLength?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  allOf?: Schema[];
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
}

interface ResponseObject {
  headers?: Record<string, unknown>;
  content?: Record<string, { schema: Schema }>;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  /** Roles that may call it; none where anybody may. */
  roles: string[];
  parameters: Parameter[];
  body?: { type: string; schema: Schema; example: unknown; isRequired: boolean };
  responses: Record<string, ResponseObject>;
}

const document = JSON.parse(readFileSync(join(__dirname, '../../openapi.json'), 'utf8'));

/** What a reference of the document stands for, or the thing itself. */
export function resolve<T extends { $ref?: string }>(thing: T): T {
  if (!thing.$ref) return thing;
  const found = thing.$ref
    .slice(2)
    .split('/')
    .reduce((at, key) => at?.[key], document);
  if (!found) throw new Error(`${thing.$ref} leads nowhere`);
  return found as T;
}

/** Every operation of openapi.json. */
export function readOperations(): Operation[] {
  return Object.entries<Record<string, any>>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const [type, media] = Object.entries<any>(operation.requestBody?.content ?? {})[0] ?? [];
      return {
        id: operation.operationId,
        method: method.toUpperCase(),
        path,
        roles: operation.security.length > 0 ? operation['x-roles'] : [],
        parameters: operation.parameters.map(resolve),
        body:
          type === undefined
            ? undefined
            : { type, schema: media.schema, example: media.example, isRequired: operation.requestBody.required },
        responses: Object.fromEntries(
          Object.entries<ResponseObject & { $ref?: string }>(operation.responses).map(([status, response]) => [
            status,
            resolve(response),
          ]),
        ),
      };
    }),
  );
}

const validators = new Map<Schema, z.ZodType>();

/** A validator of a schema of the document. */
function validatorOf(schema: Schema): z.ZodType {
  const known = validators.get(schema);
  if (known) return known;
  const text = JSON.stringify({ ...schema, $defs: document.components.schemas }).replaceAll('#/components/schemas/', '#/$defs/');
  const validator = z.fromJSONSchema(JSON.parse(text));
  validators.set(schema, validator);
  return validator;
}

/** Problem codes that an operation declares for a status. */
function codesOf({ responses }: Operation, status: number): unknown[] {
  const schema = responses[status]?.content?.['application/problem+json']?.schema;
  return schema?.allOf?.flatMap(part => resolve(part).properties?.code?.enum ?? []) ?? [];
}

/** A repeated request has the one, and a thing with a version the other. */
const OPTIONAL_HEADERS = new Set(['Idempotency-Replayed', 'ETag']);

/** Checks an answer against what the operation declares: status, headers, body, and the code of a problem. */
export async function expectDeclared(operation: Operation, response: Response): Promise<any> {
  const { id, responses, method } = operation;
  const text = await response.text();
  const seen = `${id} answered ${response.status} ${text.slice(0, 500)}`;
  const declared = responses[response.status];
  expect(Object.keys(responses), seen).toContain(String(response.status));
  expect(response.headers.get('x-request-id'), seen).toMatch(/^[A-Za-z0-9._-]{1,64}$/);
  for (const name of Object.keys(declared?.headers ?? {})) {
    if (!OPTIONAL_HEADERS.has(name)) expect(response.headers.get(name), `${seen}: ${name}`).not.toBeNull();
  }
  const [type, media] = Object.entries(declared?.content ?? {})[0] ?? [];
  if (!type || !media || method === 'HEAD') {
    expect(text, seen).toBe('');
    return undefined;
  }
  expect(response.headers.get('content-type')?.split(';')[0], seen).toBe(type);
  if (!type.endsWith('json')) return text;
  const body = JSON.parse(text);
  const { error } = validatorOf(media.schema).safeParse(body);
  expect(error && z.prettifyError(error), seen).toBeUndefined();
  if (response.status < 400) return body;
  expect(codesOf(operation, response.status), seen).toContain(body.code);
  expect(body, seen).toMatchObject({ status: response.status, requestId: response.headers.get('x-request-id') });
  return body;
}
