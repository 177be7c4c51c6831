import type { IncomingMessage, ServerResponse } from 'node:http';
import * as z from 'zod';
import type { ProblemFactory } from '../../mixins/errors';
import { requestIdOf } from '../../services/api/headers';
import { answerable, problemDocument } from '../../services/api/problem';
import { type KongConfig, pluginConfig } from './config';
import type { Match } from './router';

const Cors = z.looseObject({
  origins: z.array(z.string()),
  methods: z.array(z.string()),
  headers: z.array(z.string()),
  exposed_headers: z.array(z.string()),
  max_age: z.number(),
});
const Size = z.looseObject({ allowed_payload_size: z.int(), size_unit: z.literal('bytes') });
const Removed = z.looseObject({ remove: z.looseObject({ headers: z.array(z.string()) }) });

/** What the configuration's plugins do at the edge, for the ones that matter in development. */
export class Edge {
  readonly #cors: z.infer<typeof Cors>;
  readonly #origins: ReadonlySet<string>;
  readonly #removed: readonly string[];

  constructor(readonly config: KongConfig) {
    this.#cors = Cors.parse(pluginConfig(config, 'cors'));
    this.#origins = new Set(this.#cors.origins.map(url => new URL(url).origin));
    this.#removed = Removed.parse(pluginConfig(config, 'response-transformer')).remove.headers.map(name => name.toLowerCase());
  }

  /** Bytes that a request's body may have. */
  sizeLimit({ service, route }: Match): number {
    return Size.parse(pluginConfig(this.config, 'request-size-limiting', service, route)).allowed_payload_size;
  }

  /** Gives the request an id that is one, and says the real client; whatever it said of either itself is gone. */
  identify(req: IncomingMessage, res: ServerResponse): string {
    const id = requestIdOf(req);
    res.setHeader('X-Request-Id', id);
    for (const name of Object.keys(req.headers)) {
      if (name.startsWith('x-forwarded-') || name === 'forwarded' || name === 'x-real-ip') delete req.headers[name];
    }
    const { remoteAddress = '', localPort } = req.socket;
    Object.assign(req.headers, {
      'x-request-id': id,
      'x-forwarded-for': remoteAddress,
      'x-real-ip': remoteAddress,
      'x-forwarded-proto': 'http',
      'x-forwarded-host': req.headers.host ?? '',
      'x-forwarded-port': String(localPort),
    });
    return id;
  }

  /** Lets pages of listed origins read the answer; true where it was a preflight, which is then answered. */
  answerPreflight(req: IncomingMessage, res: ServerResponse): boolean {
    this.#allowOrigin(req, res);
    if (req.method !== 'OPTIONS' || !req.headers.origin || !req.headers['access-control-request-method']) return false;
    res.setHeader('Access-Control-Allow-Headers', this.#cors.headers.join(','));
    res.setHeader('Access-Control-Allow-Methods', this.#cors.methods.join(','));
    res.setHeader('Access-Control-Max-Age', String(this.#cors.max_age));
    res.writeHead(200).end();
    return true;
  }

  #allowOrigin({ headers: { origin } }: IncomingMessage, res: ServerResponse): void {
    if (!origin) return;
    res.setHeader('Vary', 'Origin');
    if (!this.#origins.has(origin)) return;
    res.setHeader('Access-Control-Allow-Origin', origin);
    res.setHeader('Access-Control-Expose-Headers', this.#cors.exposed_headers.join(','));
  }

  /** Takes from a node's answer what is not for clients. */
  clean(headers: IncomingMessage['headers'], res: ServerResponse): void {
    // The connection to the node ends with each request; the client's does not.
    for (const name of [...this.#removed, 'connection', 'keep-alive']) delete headers[name];
    const vary = [res.getHeader('Vary'), headers.vary].filter(Boolean).join(', ');
    if (vary) headers.vary = vary;
  }
}

/** Answers with a problem document, as nodes do. */
export function refuse(res: ServerResponse, requestId: string, problem: ProblemFactory): void {
  const answer = answerable(problem());
  const body = JSON.stringify(problemDocument(answer, requestId));
  res.setHeader('Content-Type', 'application/problem+json');
  res.setHeader('Content-Length', Buffer.byteLength(body));
  if (answer.retryAfter) res.setHeader('Retry-After', String(answer.retryAfter));
  res.writeHead(answer.status).end(body);
}
