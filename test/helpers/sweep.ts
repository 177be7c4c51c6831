import { randomUUID } from 'node:crypto';
import type { App } from './app';
import { Client } from './client';
import { readMailLink } from './mails';
import { expectDeclared, type Operation, type Parameter, resolve, type Schema } from './operations';
import { join, PASSWORD, type SignedIn, signUp, unique, uniqueEmail } from './people';

/** A company with somebody of each role. */
export interface Company {
  ADMIN: SignedIn;
  MANAGER: SignedIn;
  EMPLOYEE: SignedIn;
}

/** A request that is about to be sent; what is not given is filled in so that it succeeds. */
export interface Sent {
  role?: keyof Company;
  token?: string | null;
  /** Values of the path's parameters. */
  path?: Record<string, string>;
  query?: Record<string, string>;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Answered {
  status: number;
  headers: Headers;
  body: any;
}

type Fill = (company: Company) => unknown | Promise<unknown>;

/**
 * Fills in and sends the operations of openapi.json. Ids are made by the POST of the collection that they stand in.
 * A new operation with a field that is neither in its example nor known here fails: teach `fills` what it is.
 */
export class Sweep {
  constructor(
    readonly app: Pick<App, 'url' | 'config'>,
    readonly operations: readonly Operation[],
  ) {}

  /** Values that examples cannot hold, by `operation.field` or by field. */
  readonly #fills: Record<string, Fill> = {
    email: () => uniqueEmail('sweep'),
    name: () => unique('Sweep'),
    teamId: company => this.make('/teams', company),
    teamIds: async company => [await this.make('/teams', company)],
    managerIds: async company => [await this.make('/users', company)],
    'auth.login.email': company => company.ADMIN.email,
    'auth.login.password': () => PASSWORD,
    'auth.refresh.refreshToken': async company => (await this.signIn(company, 'ADMIN')).refreshToken,
    'auth.acceptInvite.token': company => this.#invite(company),
    'users.import.csv': () => `firstName,lastName,email,team\nCamille,Moreau,${uniqueEmail('csv')},${unique('Team')}\n`,
  };

  async company(): Promise<Company> {
    const admin = await signUp(new Client(this.app.url));
    const { dataDir } = this.app.config;
    const [manager, employee] = await Promise.all(['MANAGER', 'EMPLOYEE'].map(role => join(admin, dataDir, { role })));
    return { ADMIN: admin, MANAGER: manager!, EMPLOYEE: employee! };
  }

  /** A session of its own, for operations that end theirs. */
  async signIn(company: Company, role: keyof Company): Promise<{ accessToken: string; refreshToken: string }> {
    const { body } = await new Client(this.app.url).post('/auth/login', { email: company[role].email, password: PASSWORD });
    return body;
  }

  /** Makes one of a collection's things, and gives its id. */
  async make(collection: string, company: Company): Promise<string> {
    const create = this.operations.find(({ method, path }) => method === 'POST' && path === collection);
    if (!create?.responses[201]) throw new Error(`Nothing makes what stands in ${collection}: teach the sweep`);
    const { body } = await this.send(create, company, { body: await this.#requiredBody(create, company) });
    if (typeof body?.id !== 'string') throw new Error(`${create.id} gave no id`);
    return body.id;
  }

  /** Reads the thing that an operation is about. */
  async read({ path }: Operation, ids: Record<string, string>, company: Company): Promise<unknown> {
    const ofThing = path.slice(0, path.lastIndexOf('}') + 1) || path;
    const get = this.operations.find(operation => operation.method === 'GET' && operation.path === ofThing);
    if (!get) throw new Error(`Nothing reads ${ofThing}: teach the sweep how to see that nothing changed`);
    return (await this.send(get, company, { path: ids })).body;
  }

  /** Ids of new things, for each parameter of a path. */
  async idsFor({ path }: Operation, company: Company): Promise<Record<string, string>> {
    const ids: Record<string, string> = {};
    for (const [, before = '', name = ''] of path.matchAll(/^(.*)\/\{(\w+)\}/g)) {
      if (before.includes('{')) throw new Error(`${path} is nested: teach the sweep`);
      ids[name] = await this.make(before, company);
    }
    return ids;
  }

  /** A body that is as it should be. */
  async bodyFor({ id, body }: Operation, company: Company): Promise<unknown> {
    if (!body) return undefined;
    if (body.type === 'text/csv') return this.#filled(id, 'csv', body.schema, body.example, company);
    return this.#filledObject(id, body.schema, body.example as Record<string, unknown>, company);
  }

  /** A body without what may be left out: things that name each other would make each other for ever. */
  async #requiredBody({ id, body }: Operation, company: Company): Promise<unknown> {
    if (!body) return undefined;
    const { properties = {}, required = [] } = resolve(body.schema);
    const schema = { properties: Object.fromEntries(required.map(name => [name, properties[name] ?? {}])) };
    return this.#filledObject(id, schema, body.example as Record<string, unknown>, company);
  }

  /** Sends an operation and checks that the answer is one that it declares. */
  async send(operation: Operation, company: Company, sent: Sent = {}): Promise<Answered> {
    const { role = (operation.roles[0] ?? 'ADMIN') as keyof Company } = sent;
    const ids = sent.path ?? (await this.idsFor(operation, company));
    const body = 'body' in sent ? sent.body : await this.bodyFor(operation, company);
    const token = sent.token === undefined ? await this.#tokenFor(operation, company, role) : sent.token;
    const response = await fetch(this.#urlOf(operation, ids, sent.query), {
      method: operation.method,
      headers: {
        ...(body !== undefined && { 'Content-Type': operation.body?.type ?? 'application/json' }),
        ...(token && { Authorization: `Bearer ${token}` }),
        ...sent.headers,
      },
      body: typeof body === 'string' || body === undefined ? body : JSON.stringify(body),
    });
    const answer = await expectDeclared(operation, response);
    return { status: response.status, headers: response.headers, body: answer };
  }

  async #tokenFor({ id, roles }: Operation, company: Company, role: keyof Company): Promise<string | undefined> {
    if (roles.length === 0) return undefined;
    return id === 'auth.logout' ? (await this.signIn(company, role)).accessToken : company[role].accessToken;
  }

  #urlOf({ path }: Operation, ids: Record<string, string>, query: Record<string, string> = {}): string {
    const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(ids[name] ?? ''));
    const search = new URLSearchParams(query).toString();
    return `${this.app.url}${filled}${search && `?${search}`}`;
  }

  async #filledObject(
    id: string,
    schema: Schema,
    example: Record<string, unknown>,
    company: Company,
  ): Promise<Record<string, unknown>> {
    const entries = Object.entries(resolve(schema).properties ?? {}).map(
      async ([name, property]) => [name, await this.#filled(id, name, property, example[name], company)] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }

  async #filled(id: string, name: string, schema: Schema, example: unknown, company: Company): Promise<unknown> {
    const fill = this.#fills[`${id}.${name}`] ?? this.#fills[name];
    if (fill) return fill(company);
    const { properties } = resolve(schema);
    if (properties) return this.#filledObject(id, schema, example as Record<string, unknown>, company);
    if (holdsId(schema)) throw new Error(`${id}: whose id is ${name}? Teach the sweep`);
    if (example === undefined) throw new Error(`${id}: ${name} has no example. Teach the sweep`);
    return example;
  }

  async #invite(company: Company): Promise<string> {
    const create = this.operations.find(({ id }) => id === 'users.create')!;
    const { body } = await this.send(create, company);
    return (await readMailLink(this.app.config.dataDir, body.email)).token;
  }
}

function holdsId(schema: Schema): boolean {
  const { format, items, anyOf } = resolve(schema);
  return format === 'uuid' || (items !== undefined && holdsId(items)) || (anyOf ?? []).some(holdsId);
}

export interface Wrong {
  /** Dotted path of what is wrong, as the problem should name it. */
  field: string;
  body: Record<string, unknown>;
}

/** Every way to spoil a body that the schema tells: unknown, missing, of the wrong type, too long, with NUL. */
export function wrongBodies(schema: Schema, good: Record<string, unknown>, prefix = ''): Wrong[] {
  const { properties = {}, required = [] } = resolve(schema);
  const unknown = { field: `${prefix}sweepUnknown`, body: { ...good, sweepUnknown: 1 } };
  const missing = required.map(name => ({ field: prefix + name, body: without(good, name) }));
  const spoilt = Object.entries(properties).flatMap(([name, property]) => {
    const nested = resolve(property).properties
      ? wrongBodies(property, good[name] as Record<string, unknown>, `${prefix}${name}.`).map(({ field, body }) => ({
          field,
          body: { ...good, [name]: body },
        }))
      : [];
    const values = wrongValues(property).map(value => ({ field: prefix + name, body: { ...good, [name]: value } }));
    return [...nested, ...values];
  });
  return [unknown, ...missing, ...spoilt];
}

function without(object: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));
}

function wrongValues(schema: Schema): unknown[] {
  const { type, anyOf, maxLength, enum: values } = resolve(schema);
  const first = anyOf?.map(resolve).find(choice => choice.type !== 'null');
  if (first) return wrongValues(first);
  const foreign = type === 'string' ? [5, ['x'], { x: 1 }] : type === 'array' ? [{}, 'x'] : ['x', []];
  const texts = type === 'string' ? ['x\0', 'x'.repeat((maxLength ?? 100) + 1)] : [];
  return [...foreign, ...texts, ...(values ? ['NOT-ONE-OF-THEM'] : [])];
}

/** A value that a parameter of the query cannot have. */
export function wrongText({ schema }: Parameter): string {
  const { type, maxLength, format, enum: values } = resolve(schema);
  if (values || format || type === 'integer') return 'x~';
  return 'x'.repeat((maxLength ?? 0) + 1);
}

/** An id that nothing has. */
export const nobody = (): string => randomUUID();
