import { deepStrictEqual } from 'node:assert/strict';
import pg from 'pg';
import type { MakeRequest } from './load';
import type { Server } from './processes';
import { type Answer, type Cast, newPerson, send } from './scenarios';
import { emailOf, PASSWORD } from './seed';

/** One of the two servers with the database that it works on. */
export interface Side {
  server: Server;
  cast: Cast;
  databaseUrl: string;
}

interface Check {
  what: string;
  status: number;
  request: (cast: Cast) => ReturnType<MakeRequest>;
  /** `value`: both answer the same; `shape`: answers hold new ids, tokens or times, but are alike; `refusal`: same code. */
  alike: 'value' | 'shape' | 'refusal';
}

const UNKNOWN_ID = '0198c0de-0000-7000-8000-000000000001';
const login = (body: object) => ({ method: 'POST', path: '/auth/login', body }) as const;
const post = (token: string | undefined, body: object) => ({ method: 'POST', path: '/users', token, body }) as const;
const get = (token: string | undefined, path: string) => ({ method: 'GET', path, token }) as const;

const CHECKS: readonly Check[] = [
  { what: 'oneself', status: 200, alike: 'value', request: cast => get(cast.members[5]?.token, '/users/me') },
  { what: 'the first page', status: 200, alike: 'value', request: cast => get(cast.admin.token, '/users?page=1&pageSize=20') },
  { what: 'a later page', status: 200, alike: 'value', request: cast => get(cast.admin.token, '/users?page=7&pageSize=20') },
  { what: 'one person', status: 200, alike: 'value', request: cast => get(cast.admin.token, `/users/${cast.ids[3]}`) },
  { what: 'somebody new', status: 201, alike: 'shape', request: cast => post(cast.smallAdmin.token, newPerson()) },
  { what: 'a login', status: 200, alike: 'shape', request: () => login({ email: emailOf(1, 7), password: PASSWORD }) },
  { what: 'no token', status: 401, alike: 'refusal', request: () => get(undefined, '/users/me') },
  {
    what: 'a forged token',
    status: 401,
    alike: 'refusal',
    request: cast => get(`${cast.admin.token.slice(0, -8)}AAAAAAAA`, '/users/me'),
  },
  { what: 'nobody of that id', status: 404, alike: 'refusal', request: cast => get(cast.admin.token, `/users/${UNKNOWN_ID}`) },
  {
    what: 'somebody of another company',
    status: 404,
    alike: 'refusal',
    request: cast => get(cast.smallAdmin.token, `/users/${cast.ids[0]}`),
  },
  { what: 'a page that is none', status: 422, alike: 'refusal', request: cast => get(cast.admin.token, '/users?page=0') },
  { what: 'a wrong role', status: 403, alike: 'refusal', request: cast => post(cast.members.at(-1)?.token, newPerson()) },
  {
    what: 'a body with an unknown field',
    status: 422,
    alike: 'refusal',
    request: cast => post(cast.smallAdmin.token, { ...newPerson(), shoe: 43 }),
  },
  {
    what: 'a body with no address',
    status: 422,
    alike: 'refusal',
    request: cast => post(cast.smallAdmin.token, { ...newPerson(), email: 'x' }),
  },
  {
    what: 'an address that is taken',
    status: 409,
    alike: 'refusal',
    request: cast => post(cast.smallAdmin.token, { ...newPerson(), email: emailOf(2, 2).toUpperCase() }),
  },
  {
    what: 'a wrong password',
    status: 401,
    alike: 'refusal',
    request: () => login({ email: emailOf(1, 8), password: 'not the one' }),
  },
  {
    what: 'an unknown address',
    status: 401,
    alike: 'refusal',
    request: () => login({ email: 'nobody@bench.example', password: PASSWORD }),
  },
];

/**
 * Makes sure that both servers do the same work: the same statuses and JSON, and as many new rows in the same tables.
 * @returns what differs; empty when nothing does
 */
export async function compare(app: Side, bare: Side): Promise<string[]> {
  const differences: string[] = [];
  for (const check of CHECKS) {
    const [ours, theirs] = [await observe(app, check), await observe(bare, check)];
    for (const { answer, name } of [ours, theirs]) {
      if (answer.status !== check.status) {
        differences.push(`${check.what}: ${name} answers ${answer.status} ${JSON.stringify(answer.json)}, not ${check.status}`);
      }
    }
    const difference =
      differenceOf(digest(ours.answer, check), digest(theirs.answer, check)) ?? differenceOf(ours.rows, theirs.rows);
    if (difference) differences.push(`${check.what}: ${difference}`);
  }
  return differences;
}

async function observe({ server, cast, databaseUrl }: Side, check: Check) {
  const before = await countRows(databaseUrl);
  const answer = await send(server, check.request(cast));
  const after = await countRows(databaseUrl);
  const rows = Object.fromEntries(Object.entries(after).map(([table, count]) => [table, count - (before[table] ?? 0)]));
  return { name: server.name, answer, rows };
}

function digest({ type, json }: Answer, { alike }: Check): unknown {
  if (alike === 'value') return { type, json };
  if (alike === 'shape') return { type, json: shapeOf(json) };
  return { type, code: (json as { code?: unknown } | undefined)?.code };
}

function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shapeOf(inner)]));
}

function differenceOf(ours: unknown, theirs: unknown): string | undefined {
  try {
    deepStrictEqual(ours, theirs);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Tables that requests write; what the application puts off for later writes others. */
const TABLES = ['users', 'user_teams', 'link_tokens', 'sessions', 'refresh_tokens', 'login_failures', 'outbox', 'audit_entries'];

async function countRows(url: string): Promise<Record<string, number>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const counts = TABLES.map(table => `(select count(*)::int from ${table}) as ${table}`);
    const { rows } = await client.query<Record<string, number>>(`select ${counts.join(', ')}`);
    return rows[0] ?? {};
  } finally {
    await client.end();
  }
}
