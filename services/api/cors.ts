import type { IncomingMessage, ServerResponse } from 'node:http';

const EXPOSED = 'ETag, Location, Retry-After, X-Request-Id, Idempotency-Replayed';
const ACCEPTED = 'Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, X-Request-Id';
const PREFLIGHT_SECONDS = '600';

/** The origins whose pages may read our answers, spelt as browsers spell them. None: a proxy sees to CORS. */
export function originsOf(urls: readonly string[]): ReadonlySet<string> {
  return new Set(urls.map(url => new URL(url).origin));
}

/** Lets pages of known origins read the answer; to all others it stays opaque. */
export function allowOrigin(origins: ReadonlySet<string>, req: IncomingMessage, res: ServerResponse): void {
  if (origins.size === 0) return;
  res.setHeader('Vary', 'Origin');
  const origin = req.headers.origin;
  if (origin === undefined || !origins.has(origin)) return;
  res.setHeader('Access-Control-Allow-Origin', origin);
  res.setHeader('Access-Control-Expose-Headers', EXPOSED);
}

/** Answers OPTIONS, a browser's preflight among them; it never comes near an action. */
export function answerOptions(req: IncomingMessage, res: ServerResponse, allowed: string): void {
  res.setHeader('Allow', allowed);
  if (res.hasHeader('Access-Control-Allow-Origin') && req.headers['access-control-request-method']) {
    res.setHeader('Access-Control-Allow-Methods', allowed);
    res.setHeader('Access-Control-Allow-Headers', ACCEPTED);
    res.setHeader('Access-Control-Max-Age', PREFLIGHT_SECONDS);
  }
  res.writeHead(204).end();
}
