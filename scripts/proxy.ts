import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { createProxyServer } from 'http-proxy-3';
import { commonProblems, isProblem, problems } from '../mixins/errors';
import { drain, hasBody, readAll } from '../services/api/body';
import { Balancer, localTargets, type Targets } from './kong/balancer';
import type { KongConfig } from './kong/config';
import { Edge, refuse } from './kong/edge';
import { KongRouter, type Match, normalizePath } from './kong/router';

const proxyProblems = problems({
  PROXY_BAD_ANSWER: [502, 'The service broke off before it answered.'],
});

/** Methods that may be sent again although a node may have seen them (RFC 9110, section 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']);

const HEALTH_PATH = '/health/ready';

export interface ProxyOptions {
  /** What `kong.yml` says. */
  config: KongConfig;
  /** URLs of the nodes by upstream; those that are missing are looked for on 127.0.0.1 and the port of the configuration. */
  targets?: Targets;
  /** 0 takes a free one. */
  port?: number;
  host?: string;
}

export interface RunningProxy {
  url: string;
  /** Stops listening and breaks off what is still open. */
  close(): Promise<void>;
}

/**
 * A stand-in for Kong in development and tests: the routes, upstreams, retries and time-outs of `kong.yml`, and those of
 * its plugins that change what a client or a node sees. No rate limits, no TLS, no metrics.
 */
export async function startProxy({ config, targets, port = 8000, host = '127.0.0.1' }: ProxyOptions): Promise<RunningProxy> {
  const router = new KongRouter(config);
  const edge = new Edge(config);
  const balancer = new Balancer({ ...localTargets(config), ...targets }, HEALTH_PATH);
  const forward = forwarder(edge, balancer);

  const server = createServer((req, res) => {
    res.on('error', () => undefined);
    const id = edge.identify(req, res);
    if (edge.answerPreflight(req, res)) return;
    const { path, query } = targetOf(req);
    const match = router.find(path);
    if (!match) return refuse(res, id, commonProblems.NOT_FOUND);
    req.url = path + query;
    forward(req, res, match, id).catch(error => {
      if (res.headersSent || res.destroyed) return void res.destroy();
      refuse(
        res,
        id,
        isProblem(error, commonProblems.BODY_TOO_LARGE) ? commonProblems.BODY_TOO_LARGE : commonProblems.BODY_MALFORMED,
      );
      drain(req);
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  const url = `http://${host}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      balancer.close();
      await closed;
    },
  };
}

/** Path and query of a request line; it may hold a whole URL (RFC 9112, section 3.2.2). */
function targetOf({ url = '/' }: IncomingMessage): { path: string; query: string } {
  const target = url.startsWith('/') || !URL.canParse(url) ? url : new URL(url).pathname + new URL(url).search;
  const at = target.indexOf('?');
  if (at === -1) return { path: normalizePath(target), query: '' };
  return { path: normalizePath(target.slice(0, at)), query: target.slice(at) };
}

/** Sends requests to the first target that takes them. */
function forwarder(edge: Edge, balancer: Balancer) {
  const proxy = createProxyServer({ changeOrigin: true });
  proxy.on('proxyRes', (answer, _req, res) => {
    edge.clean(answer.headers, res);
    // At once: the first event of a stream may be long in coming.
    setImmediate(() => res.headersSent || res.destroyed || res.flushHeaders());
    answer.once('close', () => answer.complete || res.destroy());
  });

  return async (req: IncomingMessage, res: ServerResponse, match: Match, id: string): Promise<void> => {
    const { service } = match;
    // Read whole before it is sent, as Kong does: only so can it be sent to another target.
    const limit = edge.sizeLimit(match);
    if (Number(req.headers['content-length'] ?? 0) > limit) throw commonProblems.BODY_TOO_LARGE();
    const body = hasBody(req) ? await readAll(req, limit) : undefined;
    if (body) describe(req, body);
    const attempt = (target: string) =>
      new Promise<NodeJS.ErrnoException | undefined>(resolve => {
        res.once('close', () => resolve(undefined));
        const buffer = body && Readable.from([body]);
        const timeouts = { connectTimeout: service.connect_timeout, proxyTimeout: service.read_timeout };
        proxy.web(req, res, { target, buffer, ...timeouts }, error => resolve(error));
      });

    let problem = commonProblems.UNAVAILABLE;
    for (const target of balancer.order(service.host).slice(0, service.retries + 1)) {
      const error = await attempt(target);
      if (!error || res.destroyed) return;
      if (res.headersSent) return void res.destroy();
      const wasSent = !(error.syscall === 'connect' || error.syscall === 'getaddrinfo' || error.code === 'ECONNECT_TIMEOUT');
      if (!wasSent) balancer.markDown(target);
      problem = wasSent ? proxyProblems.PROXY_BAD_ANSWER : commonProblems.UNAVAILABLE;
      if (wasSent && !IDEMPOTENT.has(req.method ?? '')) break;
    }
    refuse(res, id, problem);
  };
}

/** The body is sent in one piece, and whoever asked whether to send it was told so. */
function describe({ headers }: IncomingMessage, body: Buffer): void {
  headers['content-length'] = String(body.length);
  delete headers['transfer-encoding'];
  delete headers.expect;
}
