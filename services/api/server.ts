import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { commonProblems } from '../../mixins/errors';
import { apiProblems } from './api.contract';
import { SECURITY_HEADERS } from './headers';
import { answerable, problemDocument } from './problem';

/** Milliseconds. */
export interface ServerLimits {
  /** For the request line and all headers to arrive. */
  headersTimeout: number;
  /** For the whole request to arrive, its body included. */
  requestTimeout: number;
  /** How long a connection waits for its next request. */
  keepAliveTimeout: number;
  /** After this long without a byte in either direction a connection is closed: clients that do not read, or are gone. */
  idleTimeout: number;
  /** How often the time-outs above are looked at. */
  checkInterval: number;
  /** How long a stopping server waits for its open requests. */
  drainTimeout: number;
}

export const SERVER_LIMITS: ServerLimits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  // Longer than the proxies in front of us keep theirs, so that it is never us who closes a connection in use.
  keepAliveTimeout: 65_000,
  idleTimeout: 120_000,
  checkInterval: 5_000,
  drainTimeout: 3_000,
};

const MAX_CONNECTIONS = 10_000;
/** How long a new connection without a request is waited for when the server closes. */
const NEW_CONNECTION_TIMEOUT = 250;

/** A refusal of Node's HTTP parser, which never became a request. */
export interface ParserRefusal {
  status: number;
  requestId: string;
  reason: string;
}

export interface ApiServer {
  server: Server;
  /** Stops listening, lets open requests be answered, and closes what is still open after `drainTimeout`. */
  close(): Promise<void>;
}

/**
 * A server on which slow and half-open clients do not pile up, and which answers with problem documents also where
 * Node's parser refuses.
 */
export function createApiServer(
  listener: RequestListener,
  limits: ServerLimits,
  onRefusal: (refusal: ParserRefusal) => void,
): ApiServer {
  const server = createServer(
    {
      headersTimeout: limits.headersTimeout,
      requestTimeout: limits.requestTimeout,
      keepAliveTimeout: limits.keepAliveTimeout,
      connectionsCheckingInterval: limits.checkInterval,
      // Node would answer these itself, without a body.
      requireHostHeader: false,
    },
    listener,
  );
  server.timeout = limits.idleTimeout;
  server.maxConnections = MAX_CONNECTIONS;
  // Whoever asks before sending a body is told to go on when its headers are found good.
  server.on('checkContinue', (req, res) => server.emit('request', req, res));
  server.on('checkExpectation', (req, res) => server.emit('request', req, res));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuse(error, socket, onRefusal));
  const idle = trackIdle(server);
  return { server, close: () => close(server, idle, limits.drainTimeout) };
}

function problemFor(code: string | undefined) {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return apiProblems.REQUEST_TOO_SLOW();
  if (code === 'HPE_HEADER_OVERFLOW') return apiProblems.HEADERS_TOO_LARGE();
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return commonProblems.BODY_TOO_LARGE();
  return commonProblems.REQUEST_MALFORMED();
}

function refuse(error: NodeJS.ErrnoException, socket: Socket, onRefusal: (refusal: ParserRefusal) => void): void {
  const open = (socket as Socket & { _httpMessage?: { headersSent: boolean } })._httpMessage;
  if (!socket.writable || error.code === 'ECONNRESET' || open?.headersSent) {
    socket.destroy();
    return;
  }
  const answer = answerable(problemFor(error.code));
  const requestId = randomUUID();
  const body = JSON.stringify(problemDocument(answer, requestId));
  const headers = [
    ...SECURITY_HEADERS,
    ['X-Request-Id', requestId],
    ['Content-Type', 'application/problem+json'],
    ['Content-Length', String(Buffer.byteLength(body))],
    ['Connection', 'close'],
  ];
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.end(`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\n${head}\r\n${body}`, () => socket.destroy());
  onRefusal({ status: answer.status, requestId, reason: error.code ?? error.message });
}

/**
 * Follows which connections have no request open. Node counts those among the idle only that had one before, and
 * browsers open connections ahead of need.
 */
function trackIdle(server: Server): Set<Socket> {
  const idle = new Set<Socket>();
  server.on('connection', socket => {
    idle.add(socket);
    socket.once('close', () => idle.delete(socket));
  });
  server.on('request', ({ socket }, res) => {
    idle.delete(socket);
    res.once('close', () => {
      if (!socket.destroyed) idle.add(socket);
    });
  });
  return idle;
}

function close(server: Server, idle: ReadonlySet<Socket>, drainTimeout: number): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise(resolve => {
    const timer = setTimeout(() => server.closeAllConnections(), drainTimeout);
    timer.unref();
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    // A connection that was just made may have its request on the way.
    for (const socket of idle) if (socket.bytesRead > 0) socket.destroy();
    const late = setTimeout(() => {
      for (const socket of idle) socket.destroy();
    }, NEW_CONNECTION_TIMEOUT);
    late.unref();
  });
}
