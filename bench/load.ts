import autocannon from 'autocannon';
import { cpuTime, memory, type Server, settle } from './processes';

/** One request, built at the moment when it is sent. */
export type MakeRequest = () => { method: 'GET' | 'POST'; path: string; token?: string; body?: unknown };

export interface LoadOptions {
  server: Server;
  /** The requests of one connection, which it cycles through. */
  requestsOf: (connection: number) => MakeRequest[];
  connections: number;
  /** Seconds. */
  duration: number;
  /** Requests a second of all connections together; as many as possible unless told. */
  rate?: number;
}

export interface Measurement {
  answers: number;
  perSecond: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Answers that were no success, by status; `error` for none at all. */
  refused: Record<string, number>;
}

/** CPU in microseconds an answer, memory in MB. */
export type ServerMeasurement = Measurement & { cpu: number; peakMemory: number };

/** Puts load on a server. */
export async function load(options: LoadOptions): Promise<Measurement> {
  let connection = 0;
  const times: number[] = [];
  const refused: Record<string, number> = {};
  const { promise, resolve, reject } = Promise.withResolvers<autocannon.Result>();
  const settings: autocannon.Options = {
    url: options.server.url,
    connections: options.connections,
    duration: options.duration,
    timeout: 30,
    ...(options.rate && { overallRate: options.rate, ignoreCoordinatedOmission: true }),
    setupClient: client => client.setRequests(options.requestsOf(connection++).map(toAutocannon)),
  };
  const run = autocannon(settings, (error, result) => (error ? reject(error) : resolve(result)));
  run.on('response', (_client, status, _bytes, time) => {
    if (status >= 200 && status < 300) times.push(time);
    else refused[status] = (refused[status] ?? 0) + 1;
  });
  const { duration, errors } = await promise;
  if (errors > 0) refused.error = errors;
  const sorted = Float64Array.from(times).sort();
  const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { answers: times.length, perSecond: times.length / duration, p50: percentile(0.5), p99: percentile(0.99), refused };
}

/**
 * Puts load on a server and reads what that cost it. The time counts until the server rests again, so that work which
 * it puts off (events, mails) belongs to the requests that caused it.
 */
export async function measure(options: LoadOptions): Promise<ServerMeasurement> {
  const { pid } = options.server;
  let peakMemory = 0;
  const sample = setInterval(() => {
    peakMemory = Math.max(peakMemory, memory(pid));
  }, 100);
  try {
    const before = cpuTime(pid);
    const measured = await load(options);
    await settle([options.server]);
    return { ...measured, cpu: (cpuTime(pid) - before) / measured.answers, peakMemory };
  } finally {
    clearInterval(sample);
  }
}

function toAutocannon(make: MakeRequest): autocannon.Request {
  return {
    setupRequest: request => {
      const { method, path, token, body } = make();
      const headers = {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      };
      return { ...request, method, path, headers, body: body === undefined ? undefined : JSON.stringify(body) };
    },
  };
}
