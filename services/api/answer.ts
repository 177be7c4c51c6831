import type { ServerResponse } from 'node:http';
import type { Meta } from '../../mixins/contract';
import { commonProblems, isProblem } from '../../mixins/errors';
import type { ApiRequest } from './exchange';
import { type Answerable, answerable, problemDocument } from './problem';
import type { Route } from './routes';

/** Sends what an action gave, with the status and headers that its HTTP facts promise. */
export function sendAnswer(res: ServerResponse, { http }: Route, meta: Meta, data: unknown): void {
  setHeaders(res, meta);
  const status = meta.$statusCode ?? http.status ?? 200;
  res.statusCode = status;
  if (status === 201 && http.location) res.setHeader('Location', fill(http.location, data));
  const version = http.versioned ? (data as { version?: unknown } | null)?.version : undefined;
  if (version !== undefined) res.setHeader('ETag', `"${version}"`);
  if (status === 204 || data === undefined) {
    res.statusCode = status === 200 ? 204 : status;
    res.end();
    return;
  }
  send(res, 'application/json', data);
}

/** The length is said also where nothing follows: HEAD has the headers of GET. */
function send(res: ServerResponse, type: string, data: unknown): void {
  const body = JSON.stringify(data);
  res.setHeader('Content-Type', type);
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.end(body);
}

/** Headers that whatever ran below the API asked for. */
function setHeaders(res: ServerResponse, meta: Meta | undefined): void {
  for (const [name, value] of Object.entries(meta?.$responseHeaders ?? {})) res.setHeader(name, value);
}

/** Puts fields of the answer into `/users/{id}`; `{user.id}` reaches deeper. */
function fill(template: string, data: unknown): string {
  return template.replace(/\{([\w.]+)\}/g, (_, path: string) => {
    const value = path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], data);
    return encodeURIComponent(String(value));
  });
}

/** Sends an error as a problem document. */
export function sendProblem(req: ApiRequest, res: ServerResponse, answer: Answerable): void {
  res.statusCode = answer.status;
  setHeaders(res, (req as Partial<ApiRequest>).$ctx?.meta);
  if (answer.retryAfter !== undefined) res.setHeader('Retry-After', String(Math.max(1, Math.ceil(answer.retryAfter))));
  if (answer.status === 401)
    res.setHeader('WWW-Authenticate', req.headers.authorization ? 'Bearer error="invalid_token"' : 'Bearer');
  send(res, 'application/problem+json', problemDocument(answer, req.requestId));
}

/** As `answerable`, for a request: an id in its path that cannot be one names nothing. */
export function answerableFor({ $alias: route, isAdmitted }: ApiRequest, error: unknown): Answerable {
  const answer = answerable(error);
  const namesNothing =
    isAdmitted &&
    isProblem(error, commonProblems.VALIDATION_FAILED) &&
    answer.errors?.length &&
    answer.errors.every(({ field }) => field !== null && route?.names.includes(field));
  return namesNothing ? answerable(commonProblems.NOT_FOUND()) : answer;
}
