import type { ActionSchema, ServiceSchema } from 'moleculer';
import { type ActionContract, type Auth, type HttpFacts, ROLES } from '../../mixins/contract';
import { docsRoutes } from './docs';
import { problemResponses, problemSchemas, problemTable } from './openapi-problems';
import { exampleOf, type JsonSchema, Schemas } from './openapi-schemas';
import { isConditional, type Route, routeOf, takesIdempotencyKey, targetOf } from './routes';

export interface OpenApiDocument {
  openapi: string;
  info: Record<string, unknown>;
  paths: Record<string, Record<string, OpenApiOperation>>;
  components: { schemas: Record<string, JsonSchema>; [kind: string]: Record<string, unknown> };
  [field: string]: unknown;
}

interface OpenApiOperation {
  operationId: string;
  parameters: object[];
  responses: Record<string, object>;
  [field: string]: unknown;
}

const WITH_BODY = new Set(['POST', 'PUT', 'PATCH']);
const BODY_LIMIT = 1_000_000;
/** Files of the page are no operations. */
const DOCUMENTED_FILES = new Map([
  ['/openapi.json', { operationId: 'docs.openapi', type: 'application/json', schema: { type: 'object' } }],
  ['/docs', { operationId: 'docs.page', type: 'text/html', schema: { type: 'string', maxLength: 100_000 } }],
]);

/**
 * Describes the API in OpenAPI 3.1, from the contracts and HTTP facts of the services' actions.
 * @throws when a schema cannot be described well: a string without bound, a body without example, an id used twice
 */
export function openApiDocument(services: readonly ServiceSchema[], version: string): OpenApiDocument {
  const parts: Parts = { schemas: new Schemas(), responses: {} };
  const operations = services.flatMap(service => actionsOf(service).map(published => describe(published, parts)));
  const all = [...operations, ...docsRoutes().flatMap(route => describeFile(route, parts))].sort((a, b) =>
    a.path < b.path ? -1 : 1,
  );
  const paths: OpenApiDocument['paths'] = {};
  for (const { path, method, operation } of all) paths[path] = { ...paths[path], [method.toLowerCase()]: operation };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Hiver',
      version,
      summary: 'The backend of a workforce app: companies, teams and people.',
      description: INTRODUCTION.replace('{problems}', problemTable()),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'Where this description was found' }],
    tags: tagsOf(services),
    security: [],
    paths,
    components: {
      ...COMPONENTS,
      responses: sorted(parts.responses),
      schemas: sorted({ ...parts.schemas.components, ...problemSchemas }),
    },
  };
}

/** What operations share. */
interface Parts {
  schemas: Schemas;
  responses: Record<string, object>;
}

interface Published {
  tag: string;
  route: Route;
  contract: ActionContract;
}

interface Described {
  path: string;
  method: string;
  operation: OpenApiOperation;
}

function actionsOf(service: ServiceSchema): Published[] {
  return Object.values(service.actions ?? {}).flatMap(definition => {
    const { rest, http, auth, contract } = definition as ActionSchema & { auth?: Auth; http?: HttpFacts };
    if (!rest || !http || !auth || auth === 'internal' || !contract) return [];
    return [{ tag: service.name, route: routeOf(targetOf(service.name, rest), { auth, http }), contract: contract() }];
  });
}

function describe({ tag, route, contract }: Published, { schemas, responses }: Parts): Described {
  const { method, auth, http } = route;
  const params = schemas.resolve(schemas.translate(contract.params, 'input', contract.name));
  const operation: OpenApiOperation = {
    operationId: contract.name,
    summary: http.summary,
    description: descriptionOf(route),
    tags: [tag],
    'x-roles': auth === 'public' ? [] : auth === 'authenticated' ? ROLES : auth,
    security: auth === 'public' ? [] : [{ bearer: [] }],
    parameters: [...parametersOf(route, params), ...headerParametersOf(route)],
    ...bodyOf(contract.name, route, params, schemas),
    responses: {
      ...successOf(route, schemas.translate(contract.returns, 'output', contract.name)),
      ...problemResponses({ route, contract }, responses),
    },
  };
  return { path: route.pattern.replace(/:(\w+)/g, '{$1}'), method, operation };
}

function descriptionOf({ auth, http }: Route): string {
  const who = {
    public: 'Anybody may call it.',
    authenticated: 'Whoever is signed in may call it.',
  };
  const callers = typeof auth === 'string' ? who[auth] : `Roles: ${auth.join(', ')}.`;
  return [http.description?.replace(/\s+/g, ' '), callers].filter(Boolean).join('\n\n');
}

function isInQuery({ method, http }: Route, name: string): boolean {
  return !WITH_BODY.has(method) || http.query?.includes(name) === true;
}

function parametersOf(route: Route, { properties = {}, required = [] }: JsonSchema): object[] {
  return Object.entries(properties).flatMap(([name, { description, ...schema }]) => {
    const about = description === undefined ? {} : { description };
    if (route.names.includes(name)) return [{ name, in: 'path', required: true, ...about, schema }];
    if (isInQuery(route, name)) return [{ name, in: 'query', required: required.includes(name), ...about, schema }];
    return [];
  });
}

function headerParametersOf(route: Route): object[] {
  const parameter = (name: string) => ({ $ref: `#/components/parameters/${name}` });
  return [
    ...(takesIdempotencyKey(route) ? [parameter('IdempotencyKey')] : []),
    ...(isConditional(route) ? [parameter('IfMatch')] : []),
    parameter('RequestId'),
  ];
}

function bodyOf(name: string, route: Route, params: JsonSchema, schemas: Schemas): object {
  const { properties = {}, required = [] } = params;
  const names = Object.keys(properties).filter(property => !route.names.includes(property) && !isInQuery(route, property));
  if (names.length === 0) return {};
  if (route.http.body === 'text/csv') {
    const schema = { type: 'string', maxLength: route.http.bodyLimit ?? BODY_LIMIT };
    return { requestBody: { required: true, content: { 'text/csv': { schema, example: properties.csv?.examples?.[0] } } } };
  }
  const schema = {
    type: 'object',
    properties: Object.fromEntries(names.map(property => [property, properties[property] ?? {}])),
    required: required.filter(property => names.includes(property)),
    additionalProperties: false,
  };
  const example = exampleOf(schema, schemas, name);
  return { requestBody: { required: schema.required.length > 0, content: { 'application/json': { schema, example } } } };
}

function successOf(route: Route, schema: JsonSchema): Record<string, object> {
  const { http } = route;
  const header = (name: string) => ({ $ref: `#/components/headers/${name}` });
  const status = http.status ?? 200;
  const statuses = http.otherStatus ? [status, http.otherStatus] : [status];
  return Object.fromEntries(
    statuses.map(code => {
      const headers = {
        'X-Request-Id': header('RequestId'),
        ...(code === 201 && http.location && { Location: header('Location') }),
        ...(http.versioned && { ETag: header('ETag') }),
        ...(takesIdempotencyKey(route) && { 'Idempotency-Replayed': header('IdempotencyReplayed') }),
      };
      const content = code === 204 ? {} : { content: { 'application/json': { schema } } };
      return [code, { description: SUCCESS[code], headers, ...content }];
    }),
  );
}

function describeFile(route: Route, parts: Parts): Described[] {
  const { pattern, http, method } = route;
  const file = DOCUMENTED_FILES.get(pattern);
  if (!file) return [];
  const headers = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } };
  const operation: OpenApiOperation = {
    operationId: file.operationId,
    summary: http.summary,
    tags: ['api'],
    'x-roles': [],
    security: [],
    parameters: [{ $ref: '#/components/parameters/RequestId' }],
    responses: {
      200: { description: SUCCESS[200], headers, content: { [file.type]: { schema: file.schema } } },
      ...problemResponses({ route }, parts.responses),
    },
  };
  return [{ path: pattern, method, operation }];
}

function tagsOf(services: readonly ServiceSchema[]): object[] {
  const published = services.filter(service => actionsOf(service).length > 0);
  const tags = published.map(({ name, metadata }) => ({
    name,
    description: (metadata as { description?: string } | undefined)?.description ?? `What the service \`${name}\` offers.`,
  }));
  return tags.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const SUCCESS: Record<number, string> = { 200: 'Done.', 201: 'Made.', 204: 'Done; there is nothing to tell.' };

const header = (description: string, schema: JsonSchema) => ({ description, schema });

const COMPONENTS = {
  securitySchemes: {
    bearer: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: 'The `accessToken` of `POST /auth/login`; it lives for 15 minutes.',
    },
  },
  parameters: {
    IdempotencyKey: {
      name: 'Idempotency-Key',
      in: 'header',
      description: 'Makes repeating the request harmless for 24 hours: a repeat with the same key gets the first answer.',
      schema: { type: 'string', minLength: 1, maxLength: 255 },
    },
    IfMatch: {
      name: 'If-Match',
      in: 'header',
      description: 'The `ETag` that was read: the change is refused if there was another in the meantime.',
      schema: { type: 'string', maxLength: 32, examples: ['"3"'] },
    },
    RequestId: {
      name: 'X-Request-Id',
      in: 'header',
      description: 'An id of your own for the request; anything else than letters, digits, `.`, `_` and `-` is ignored.',
      schema: { type: 'string', maxLength: 64, pattern: '^[A-Za-z0-9._-]+$' },
    },
  },
  headers: {
    RequestId: header('The id of the request, yours or ours.', { type: 'string', maxLength: 64 }),
    ETag: header('The version, for `If-Match`.', { type: 'string', maxLength: 32 }),
    Location: header('Where the new thing is found.', { type: 'string', maxLength: 200 }),
    RetryAfter: header('Seconds to wait before trying again.', { type: 'integer', minimum: 1 }),
    WwwAuthenticate: header('How to sign in.', { type: 'string', maxLength: 100 }),
    IdempotencyReplayed: header('Whether this is the answer of an earlier request with the same key.', {
      type: 'string',
      enum: ['true'],
    }),
  },
};

const INTRODUCTION = `Sign in with \`POST /auth/login\` and send the access token as bearer.

**Shapes.** Ids are UUIDs, instants \`2026-03-29T01:00:00.000Z\`, days \`2026-03-29\`, durations whole seconds. In a PATCH an absent
field is kept and \`null\` clears it. Lists take \`page\` and \`pageSize\`; \`sort=-createdAt,lastName\` sorts downwards by one field, then upwards
by another. Unknown fields and parameters are refused by name.

**Refusals** are problem documents (RFC 9457), looked at in this order: 404 and 405 of the path, 401, 403, 415, 413 and 400, 422,
404, 412, 409. What cannot be parsed as HTTP is refused with 400, 408 or 431.

**Every code:**

{problems}
`;
