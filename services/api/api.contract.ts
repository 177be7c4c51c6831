import * as z from 'zod';
import { contract } from '../../mixins/contract';
import { commonProblems, problems } from '../../mixins/errors';

/** What is wrong before any resource is looked at: the HTTP parser and the clock say so. */
export const apiProblems = problems({
  REQUEST_TOO_SLOW: [408, 'The request took too long to arrive.'],
  HEADERS_TOO_LARGE: [431, 'Path, query and headers are larger than we take.'],
});

const DatabaseStates = z.record(z.string().max(32), z.enum(['up', 'down'])).meta({ examples: [{ users: 'up' }] });

export const checkLiveness = contract('api.live', {
  params: z.strictObject({}),
  returns: z.object({ status: z.literal('ok') }).meta({ id: 'Liveness' }),
});

export const checkReadiness = contract('api.ready', {
  params: z.strictObject({}),
  returns: z.object({ status: z.literal('ok'), databases: DatabaseStates }).meta({ id: 'Readiness' }),
  problems: [commonProblems.UNAVAILABLE],
});
