import { createRequire } from 'node:module';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Admin, ISocketFactoryArgs, Kafka, LogEntry, RetryOptions, SASLOptions } from 'kafkajs';
import type { ServiceBroker } from 'moleculer';
import type { KafkaConfig } from '../config';
import { patchRequestQueue } from './kafka.patch';

/** Milliseconds within which a message that is repeated is not logged again. */
const QUIET = 30_000;
const KEEP_ALIVE = 60_000;

export type Log = Pick<ServiceBroker['logger'], 'info' | 'warn' | 'error' | 'debug'>;

/** Gives a token that is good for a new connection, as clouds want them instead of passwords. */
export type TokenProvider = () => Promise<string>;

export interface KafkaConnection extends KafkaConfig {
  clientId: string;
  /** Needed for OAUTHBEARER. */
  token?: TokenProvider;
}

interface ClientOptions {
  retry: RetryOptions;
  /** Milliseconds. */
  requestTimeout?: number;
}

/** A client, and with it its connections. */
export interface Client {
  kafka: Kafka;
  /** Ends every connection at once; what was written to them and has not left does not leave any more. */
  drop(): void;
}

type Library = typeof import('kafkajs');
let library: Library | undefined;

/** kafkajs, loaded when it is first needed: a process without Kafka does not pay for it. */
export function kafkajs(): Library {
  if (library) return library;
  patchRequestQueue();
  library = createRequire(__filename)('kafkajs') as Library;
  return library;
}

/** Opens a client of its own: how long it tries again is the client's, and what publishes may not wait as what consumes. */
export function openClient(connection: KafkaConnection, log: Log, { retry, requestTimeout = 5_000 }: ClientOptions): Client {
  const { Kafka, logLevel } = kafkajs();
  const sockets = new Set<Socket>();
  const kafka = new Kafka({
    clientId: connection.clientId,
    // A client asks the first of its list first, and that may be the one that is down: the next client begins elsewhere.
    brokers: rotated(connection.brokers, opened++),
    ssl: connection.ssl,
    sasl: saslOf(connection),
    connectionTimeout: 1_000,
    authenticationTimeout: 5_000,
    requestTimeout,
    retry,
    socketFactory: args => openSocket(args, sockets),
    logLevel: logLevel.WARN,
    logCreator: () => logTo(log),
  });
  return {
    kafka,
    drop() {
      // A reset of one that is still connecting would wait for the connection.
      for (const socket of sockets) socket.connecting ? socket.destroy() : socket.resetAndDestroy();
    },
  };
}

/** Asks the cluster something, on a connection that ends with it. */
export async function withAdmin<T>({ kafka }: Pick<Client, 'kafka'>, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** Clients that were opened so far. */
let opened = 0;

function rotated<T>(items: readonly T[], by: number): T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

/** The error that another one wraps: kafkajs wraps what it tried several times. */
export function rootOf(error: unknown): Error & { type?: string } {
  const { cause } = error as Error;
  return cause instanceof Error && cause !== error ? rootOf(cause) : (error as Error);
}

function openSocket({ host, port, ssl, onConnect }: ISocketFactoryArgs, sockets: Set<Socket>): Socket {
  const tcp = connectTcp({ host, port, noDelay: true });
  tcp.setKeepAlive(true, KEEP_ALIVE);
  sockets.add(tcp);
  tcp.once('close', () => sockets.delete(tcp));
  if (!ssl) return tcp.once('connect', onConnect);
  // A reset, and what TCP itself says, reach the secured socket as an end of the one below.
  const servername = isIP(host) ? undefined : host;
  // By `host` the certificate is looked at: on a socket that is given, Node would take it for one of localhost.
  return connectTls({ ...(typeof ssl === 'object' && ssl), host, ...(servername && { servername }), socket: tcp }, onConnect);
}

/** @throws when tokens are needed and nobody makes them */
export function providerOf(token: TokenProvider | undefined): TokenProvider {
  if (!token) throw new Error('KAFKA_SASL_MECHANISM is OAUTHBEARER, and nothing provides tokens: docs/deployment.md');
  return token;
}

function saslOf({ sasl, token }: KafkaConnection): SASLOptions | undefined {
  if (!sasl) return undefined;
  const { mechanism, username, password } = sasl;
  if (mechanism !== 'OAUTHBEARER') return { mechanism: SCRAM_OR_PLAIN[mechanism], username, password } as SASLOptions;
  const provide = providerOf(token);
  return { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: await provide() }) };
}

const SCRAM_OR_PLAIN = { PLAIN: 'plain', 'SCRAM-SHA-256': 'scram-sha-256', 'SCRAM-SHA-512': 'scram-sha-512' } as const;

/** When which lines were logged last, by logger: clients come and go in an outage. */
const saidTo = new WeakMap<Log, Map<string, number>>();

/** In an outage kafkajs says the same thing many times a second. */
function logTo(log: Log): (entry: LogEntry) => void {
  const saidAt = saidTo.get(log) ?? new Map<string, number>();
  saidTo.set(log, saidAt);
  return ({ namespace, log: { message } }) => {
    const line = `kafkajs ${namespace}: ${message}`;
    // Waits and ports differ from one time to the next.
    const kind = line.replaceAll(/\d+/g, '#');
    const now = performance.now();
    if (now - (saidAt.get(kind) ?? Number.NEGATIVE_INFINITY) < QUIET) return;
    if (saidAt.size > 100) saidAt.clear();
    saidAt.set(kind, now);
    log.warn(line);
  };
}
