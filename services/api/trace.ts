import type { ServerResponse } from 'node:http';
import type { ServiceBroker } from 'moleculer';
import { endSpan, tracingOf } from '../../mixins/tracing/tracing';
import { type ApiRequest, methodOf } from './exchange';

/**
 * Begins the span of a request, below that of its sender if there is one. It tells of a request's shape only: its URL and
 * its sender's address tell of people. Health checks come every few seconds and are left out.
 */
export function beginTrace(broker: ServiceBroker, req: ApiRequest): void {
  const tracing = tracingOf(broker);
  if (!tracing || req.url.startsWith('/health/')) return;
  const attributes = { 'http.request.method': methodOf(req), 'url.scheme': req.client.isSecure ? 'https' : 'http' };
  req.trace = tracing.begin({ name: methodOf(req), kind: 'SERVER', attributes }, req.headers.traceparent);
}

/** What the request's action is called with, so that it goes on from here. */
export function headersOf({ trace }: ApiRequest): { traceparent: string } | undefined {
  return trace && { traceparent: trace.traceparent };
}

/** For the log; `undefined` where the trace is not recorded. */
export function traceIdOf({ trace }: ApiRequest): string | undefined {
  return trace?.span && trace.traceId;
}

/** Ends the span, when its route and its status are known. */
export function endTrace(req: ApiRequest, res: ServerResponse): void {
  const span = req.trace?.span;
  if (!span) return;
  const route = req.$alias?.pattern;
  if (route) span.updateName(`${methodOf(req)} ${route}`).setAttribute('http.route', route);
  if (res.headersSent) span.setAttribute('http.response.status_code', res.statusCode);
  endSpan(span, failureOf(res));
}

function failureOf({ headersSent, statusCode }: ServerResponse): { isBug: boolean; type: string } | undefined {
  if (!headersSent) return { isBug: false, type: 'aborted' };
  return statusCode >= 500 ? { isBug: true, type: String(statusCode) } : undefined;
}
