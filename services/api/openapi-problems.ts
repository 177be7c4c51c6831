import type { ActionContract } from '../../mixins/contract';
import { commonProblems, listProblems, type ProblemFactory } from '../../mixins/errors';
import type { JsonSchema } from './openapi-schemas';
import { isConditional, type Route, takesIdempotencyKey } from './routes';

export const problemSchemas: Record<string, JsonSchema> = {
  Problem: {
    description: 'What went wrong (RFC 9457). `code` is stable, for programs; `title` and `detail` are for people.',
    type: 'object',
    properties: {
      type: { type: 'string', format: 'uri', maxLength: 100, examples: ['urn:hiver:problem:VALIDATION_FAILED'] },
      title: { type: 'string', maxLength: 200 },
      status: { type: 'integer', minimum: 400, maximum: 599 },
      detail: { type: 'string', maxLength: 1_000 },
      code: { type: 'string', maxLength: 64, pattern: '^[A-Z][A-Z0-9_]*$' },
      requestId: { type: 'string', maxLength: 64, description: 'Tell it to support: our logs have it, too.' },
      errors: { type: 'array', maxItems: 100, items: { $ref: '#/components/schemas/FieldError' } },
    },
    required: ['type', 'title', 'status', 'code', 'requestId'],
  },
  FieldError: {
    type: 'object',
    properties: {
      field: {
        type: ['string', 'null'],
        maxLength: 200,
        description: 'Dotted path into the request; null where no single field is at fault.',
      },
      message: { type: 'string', maxLength: 1_000 },
      line: { type: 'integer', minimum: 1, description: 'Line of an imported file; its header is line 1.' },
    },
    required: ['field', 'message'],
  },
};

interface Operation {
  route: Route;
  contract?: ActionContract;
}

const CHANGES = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH']);

/** Every problem that an operation may answer with: its contract's own, and what HTTP adds. */
function problemsOf({ route, contract }: Operation): ProblemFactory[] {
  const { method, names, auth, http } = route;
  const isSignedIn = auth !== 'public';
  const isIdempotent = takesIdempotencyKey(route);
  const added: [boolean, readonly ProblemFactory[]][] = [
    [true, [commonProblems.TOO_MANY_REQUESTS, commonProblems.INTERNAL_ERROR, commonProblems.UNAVAILABLE]],
    [isSignedIn, [commonProblems.UNAUTHENTICATED]],
    [Array.isArray(auth), [commonProblems.FORBIDDEN]],
    [names.length > 0, [commonProblems.NOT_FOUND]],
    [contract !== undefined, [commonProblems.VALIDATION_FAILED]],
    [
      WITH_BODY.has(method),
      [commonProblems.BODY_MALFORMED, commonProblems.BODY_TOO_LARGE, commonProblems.UNSUPPORTED_MEDIA_TYPE],
    ],
    [isSignedIn && CHANGES.has(method), [commonProblems.CONFLICT]],
    [isConditional(route), [commonProblems.VERSION_MISMATCH]],
    [isIdempotent, [commonProblems.IDEMPOTENCY_KEY_INVALID, commonProblems.IDEMPOTENCY_KEY_REUSED]],
    [isIdempotent, [commonProblems.IDEMPOTENCY_IN_PROGRESS]],
    [isIdempotent && http.secret === true, [commonProblems.IDEMPOTENCY_ANSWER_NOT_KEPT]],
  ];
  const all = [...(contract?.problems ?? []), ...added.flatMap(([applies, problems]) => (applies ? problems : []))];
  return [...new Map(all.map(problem => [problem.code, problem])).values()];
}

/** The refusals of an operation, by status; those of a single code stand among the components. */
export function problemResponses(operation: Operation, components: Record<string, object>): Record<string, object> {
  const byStatus = new Map<number, ProblemFactory[]>();
  for (const problem of problemsOf(operation)) byStatus.set(problem.status, [...(byStatus.get(problem.status) ?? []), problem]);
  const responses = [...byStatus].map(([status, problems]) => {
    const [{ code } = { code: '' }, ...others] = problems;
    const inline = response(status, problems);
    if (others.length > 0) return [status, inline] as const;
    components[code] = inline;
    return [status, { $ref: `#/components/responses/${code}` }] as const;
  });
  return Object.fromEntries(responses);
}

function response(status: number, problems: readonly ProblemFactory[]): object {
  const headers: Record<string, object> = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } };
  if (status === 429 || status === 503) headers['Retry-After'] = { $ref: '#/components/headers/RetryAfter' };
  if (status === 401) headers['WWW-Authenticate'] = { $ref: '#/components/headers/WwwAuthenticate' };
  const codes = { type: 'string', enum: problems.map(({ code }) => code) };
  return {
    description: problems.map(({ code, title }) => `\`${code}\`: ${title}`).join('\n\n'),
    headers,
    content: {
      'application/problem+json': {
        schema: { allOf: [{ $ref: '#/components/schemas/Problem' }, { type: 'object', properties: { code: codes } }] },
      },
    },
  };
}

/** The one list of all codes, as a table for people. */
export function problemTable(): string {
  const rows = listProblems().map(({ code, status, title }) => `| \`${code}\` | ${status} | ${title} |`);
  return ['| code | status | meaning |', '|---|---|---|', ...rows].join('\n');
}
