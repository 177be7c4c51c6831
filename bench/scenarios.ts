import type { MakeRequest } from './load';
import type { Server } from './processes';
import { emailOf, MEMBERS, memberEmail, PASSWORD, PEOPLE } from './seed';

/** Somebody signed in at one of the servers. */
export interface Seat {
  id: string;
  token: string;
}

/** Who sends the requests to one server. */
export interface Cast {
  /** ADMIN of the big company. */
  admin: Seat;
  /** People of the big company, of all roles. */
  members: Seat[];
  /** ADMIN of a small company, where people are made: the big one keeps its size. */
  smallAdmin: Seat;
  /** Ids of people of the big company. */
  ids: string[];
}

export interface Scenario {
  name: string;
  /** The most CPU that the application may use, as a multiple of the bare server's. */
  target: number;
  /** Hashes passwords, and so takes memory and cores that others do not. */
  isLogin?: boolean;
  requestsOf: (cast: Cast, connection: number) => MakeRequest[];
}

let made = 0;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'GET /users/me',
    target: 1.5,
    requestsOf: ({ members }, connection) => {
      const { token } = pick(members, connection);
      return [() => ({ method: 'GET', path: '/users/me', token })];
    },
  },
  {
    name: 'GET /users',
    target: 1.7,
    requestsOf: ({ admin: { token } }) => [() => ({ method: 'GET', path: '/users?page=1&pageSize=20', token })],
  },
  {
    name: 'GET /users/:id',
    target: 1.5,
    requestsOf: ({ admin: { token }, ids }) => ids.map(id => () => ({ method: 'GET', path: `/users/${id}`, token })),
  },
  {
    name: 'POST /users',
    target: 1.9,
    requestsOf: ({ smallAdmin: { token } }) => [() => ({ method: 'POST', path: '/users', token, body: newPerson() })],
  },
  {
    name: 'POST /auth/login',
    target: 1.1,
    isLogin: true,
    requestsOf: (_cast, connection) =>
      Array.from({ length: 20 }, (_, n) => {
        const email = emailOf(1, 1 + ((connection * 20 + n) % PEOPLE));
        return () => ({ method: 'POST', path: '/auth/login', body: { email, password: PASSWORD } });
      }),
  },
];

/** Somebody who is nobody's double. */
export function newPerson() {
  return {
    firstName: 'Camille',
    lastName: 'Moreau',
    email: `camille.moreau.${process.pid}.${++made}@bench.example`,
    role: 'EMPLOYEE',
    timeZone: 'Europe/Paris',
    locale: 'fr',
    startsOn: '2026-03-02',
    phone: '+33 6 12 34 56 78',
  };
}

function pick<T>(items: readonly T[], index: number): T {
  return items[index % items.length] as T;
}

export interface Answer {
  status: number;
  json: unknown;
  type: string;
}

/** Sends one request. */
export async function send(server: Server, request: ReturnType<MakeRequest>): Promise<Answer> {
  const response = await fetch(`${server.url}${request.path}`, {
    method: request.method,
    headers: {
      ...(request.token && { authorization: `Bearer ${request.token}` }),
      ...(request.body !== undefined && { 'content-type': 'application/json' }),
    },
    body: request.body === undefined ? undefined : JSON.stringify(request.body),
  });
  const text = await response.text();
  const type = (response.headers.get('content-type') ?? '').split(';')[0] ?? '';
  return { status: response.status, type, json: text === '' ? undefined : JSON.parse(text) };
}

/** Signs the cast in at a server. */
export async function assemble(server: Server): Promise<Cast> {
  const admin = await signIn(server, emailOf(1, 1));
  const members: Seat[] = [];
  for (let n = 0; n < MEMBERS; n++) members.push(await signIn(server, memberEmail(n)));
  const smallAdmin = await signIn(server, emailOf(2, 1));
  const page = await send(server, { method: 'GET', path: '/users?page=3&pageSize=100', token: admin.token });
  const ids = (page.json as { rows: { id: string }[] }).rows.map(row => row.id);
  return { admin, members, smallAdmin, ids };
}

async function signIn(server: Server, email: string): Promise<Seat> {
  const { status, json } = await send(server, { method: 'POST', path: '/auth/login', body: { email, password: PASSWORD } });
  if (status !== 200) throw new Error(`${server.name} does not let ${email} in: ${status} ${JSON.stringify(json)}`);
  const { user, accessToken } = json as { user: { id: string }; accessToken: string };
  return { id: user.id, token: accessToken };
}
