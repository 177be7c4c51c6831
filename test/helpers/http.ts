import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { ServiceBroker } from 'moleculer';
import { expect } from 'vitest';
import { signAccessToken } from '../../mixins/auth/tokens';
import type { Identity, Role } from '../../mixins/contract';
import { until } from './until';

/** Headers of somebody with that role, in a company of their own unless told. */
export function bearer(broker: ServiceBroker, role: Role, identity: Partial<Identity> = {}): Record<string, string> {
  const user = { id: randomUUID(), companyId: randomUUID(), sessionId: randomUUID(), role, ...identity };
  return { Authorization: `Bearer ${signAccessToken(broker, user).accessToken}` };
}

/** A request with a JSON body. */
export function json(body: unknown, init: { method?: string; headers?: Record<string, string> } = {}): RequestInit {
  const headers = { 'Content-Type': 'application/json', ...init.headers };
  return { method: init.method ?? 'POST', headers, body: JSON.stringify(body) };
}

interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  requestId: string;
  detail?: string;
  errors?: { field: string | null; message: string; line?: number }[];
  [member: string]: unknown;
}

/** Checks that an answer is a problem document of that status and code, whole and saying nothing of the inside. */
export async function expectProblem(response: Response, status: number, code: string): Promise<Problem> {
  const text = await response.text();
  expect({ status: response.status, body: text }).toMatchObject({ status, body: expect.stringContaining(`"${code}"`) });
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  const problem = JSON.parse(text) as Problem;
  expect(problem).toMatchObject({ status, code, type: `urn:hiver:problem:${code}`, title: expect.any(String) });
  expect(problem.requestId).toBe(response.headers.get('x-request-id'));
  return problem;
}

/** Names of the fields that a problem complains of. */
export function fieldsOf(problem: Problem): (string | null)[] {
  return (problem.errors ?? []).map(({ field }) => field);
}

/** A connection that sends what it is told, byte for byte, where `fetch` would not. */
export interface RawConnection {
  socket: Socket;
  send(bytes: string | Buffer): void;
  /** All that has arrived. */
  received(): string;
  isClosed(): boolean;
  /** Waits until what has arrived contains the text. */
  receives(text: string, timeout?: number): Promise<string>;
  closed(timeout?: number): Promise<void>;
}

/** Opens a raw connection to the API at `url`. */
export function rawConnection(url: string): RawConnection {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = '';
  let isClosed = false;
  socket.on('data', chunk => {
    received += chunk;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  return {
    socket,
    send: bytes => void socket.write(bytes),
    received: () => received,
    isClosed: () => isClosed,
    receives: (text, timeout = 5_000) =>
      until(() => received.includes(text) && received, { timeout, what: `"${text}" in ${received}` }),
    closed: async (timeout = 5_000) => void (await until(() => isClosed, { timeout, what: 'The connection to be closed' })),
  };
}
