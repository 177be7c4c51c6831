import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from 'moleculer';
import type { Identity, Meta } from '../../mixins/contract';
import type { RequestLabels } from '../../mixins/metrics/metrics';
import type { Trace } from '../../mixins/tracing/tracing';
import type { Client } from './client-address';
import type { Route } from './routes';

/** A request on its way through moleculer-web, which keeps what it knows under `$…`. */
export interface ApiRequest extends IncomingMessage {
  url: string;
  method: string;
  /** Without query and trailing slash. */
  parsedUrl: string;
  /** The raw query, behind the question mark. */
  query: string;
  /** Not there yet when a request is refused before it is looked up. */
  $ctx: Context<unknown, Meta>;
  $alias?: Route;
  /** What the action is called with; until the request is prepared, the path's parameters. */
  $params: Record<string, unknown>;
  requestId: string;
  client: Client;
  identity?: Identity;
  /** Only where traces are made. */
  trace?: Trace;
  /** Nothing stood between it and its action. */
  isAdmitted?: boolean;
}

/** RFC 9110 and RFC 5789. Node's parser knows some thirty more. */
const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE']);

/** A request's method as measurements name it, so that senders cannot make up new ones. */
export function methodOf({ method }: ApiRequest): string {
  return KNOWN_METHODS.has(method) ? method : '_OTHER';
}

/** What is measured of an exchange that has ended. */
export function labelsOf(req: ApiRequest, res: ServerResponse): RequestLabels {
  const route = req.$alias?.pattern ?? 'none';
  return { method: methodOf(req), route, status: res.headersSent ? res.statusCode : 'aborted' };
}

/** What the log tells of an exchange that has ended. Neither its URL nor its sender's address: both tell of people. */
export function lineOf(req: ApiRequest, res: ServerResponse, ms: number) {
  return {
    method: req.method,
    route: req.$alias?.pattern ?? null,
    status: res.headersSent ? res.statusCode : null,
    ms: Math.round(ms * 10) / 10,
    requestId: req.requestId,
    traceId: req.trace?.span && req.trace.traceId,
    userId: req.identity?.id,
    aborted: res.writableFinished ? undefined : true,
  };
}
