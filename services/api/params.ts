import type { IncomingMessage, ServerResponse } from 'node:http';
import { commonProblems, type FieldError } from '../../mixins/errors';
import { hasBody, parseObject, readBody } from './body';
import type { FoundRoute } from './routes';

const DEEPEST = 32;
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH']);
/** Assigning to these would reach into an object's prototype; no field of ours is called so. */
const PROTOTYPE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Gathers what an action is called with: the path's parameters, the query (for methods with a body only the names that
 * the action says), and the body. No name can come from two of them.
 * @param query the raw query
 * @throws UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_MALFORMED, VALIDATION_FAILED
 */
export async function readParams(
  req: IncomingMessage,
  res: ServerResponse,
  { route, params: path }: FoundRoute,
  query: string,
): Promise<Record<string, unknown>> {
  const takesBody = WITH_BODY.has(route.method);
  const bytes = takesBody && hasBody(req) ? await readBody(req, res, route.http) : Buffer.alloc(0);
  const isCsv = route.http.body === 'text/csv';
  const body = isCsv ? {} : parseObject(bytes);

  const errors: FieldError[] = [];
  const params: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(path)) {
    params[name] = value;
    checkText(value, name, errors);
  }
  addQuery(params, query, takesBody ? (route.http.query ?? []) : undefined, errors);
  for (const [name, value] of Object.entries(body)) {
    if (Object.hasOwn(params, name) || route.http.query?.includes(name) || PROTOTYPE_KEYS.has(name)) errors.push(unknown(name));
    else params[name] = value;
    inspect(value, name, 1, errors);
  }
  if (isCsv) params.csv = bytes;
  if (errors.length > 0) throw commonProblems.VALIDATION_FAILED({ errors });
  return params;
}

/** @param names the parameters that may stand there; undefined lets the action's own schema decide */
function addQuery(
  params: Record<string, unknown>,
  query: string,
  names: readonly string[] | undefined,
  errors: FieldError[],
): void {
  if (query === '') return;
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (seen.has(name)) errors.push({ field: name, message: 'must be given once' });
    else if (Object.hasOwn(params, name) || PROTOTYPE_KEYS.has(name) || (names && !names.includes(name)))
      errors.push(unknown(name));
    else params[name] = value;
    seen.add(name);
    checkText(value, name, errors);
  }
}

/** Looks through a parsed body for what no schema would see: depth, text that no database takes, prototype keys. */
function inspect(value: unknown, path: string, depth: number, errors: FieldError[]): void {
  if (typeof value === 'string') checkText(value, path, errors);
  if (typeof value !== 'object' || value === null) return;
  if (depth >= DEEPEST) throw commonProblems.BODY_MALFORMED({ detail: `The body is nested deeper than ${DEEPEST} levels.` });
  for (const key of Object.keys(value)) {
    if (!Array.isArray(value)) checkKey(key, path, errors);
    const item: unknown = (value as Record<string, unknown>)[key];
    if (!isHarmless(item)) inspect(item, `${path}.${key}`, depth + 1, errors);
  }
}

function checkKey(key: string, path: string, errors: FieldError[]): void {
  if (PROTOTYPE_KEYS.has(key) || !isStorable(key)) errors.push(unknown(`${path}.${key}`));
}

function checkText(text: string, field: string, errors: FieldError[]): void {
  if (!isStorable(text)) errors.push({ field, message: 'must be well-formed Unicode without NUL characters' });
}

/** PostgreSQL stores neither NUL nor half of a surrogate pair. */
function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

/** Most values need no look inside, and no path to be told. */
function isHarmless(value: unknown): boolean {
  if (typeof value === 'string') return isStorable(value);
  return typeof value !== 'object' || value === null;
}

function unknown(field: string): FieldError {
  return { field, message: 'There is no such field.' };
}
