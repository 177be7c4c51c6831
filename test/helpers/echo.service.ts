import { setTimeout as delay } from 'node:timers/promises';
import { Errors, type ServiceBroker, type ServiceSchema } from 'moleculer';
import * as z from 'zod';
import { action, contract } from '../../mixins/contract';
import { commonProblems } from '../../mixins/errors';

const Said = z.object({ word: z.string() });
const say = contract('echo.say', { params: Said, returns: z.object({ heard: z.string(), node: z.string() }) });
const Later = { params: z.object({ ms: z.number() }), returns: z.object({ node: z.string() }) };
const wait = contract('echo.wait', Later);
const work = contract('echo.work', Later);
const Plan = z.object({ failures: z.number().default(1), type: z.string().default('REQUEST_REJECTED') });
const read = contract('echo.read', { params: Plan, returns: z.object({ calls: z.number() }) });
const write = contract('echo.write', { params: Plan, returns: z.object({ calls: z.number() }) });
const repeat = contract('echo.repeat', { params: Plan, returns: z.object({ calls: z.number() }) });
const fail = contract('echo.fail', { params: z.object({ status: z.number() }), returns: z.object({}) });

async function answerLater({ params, broker }: { params: { ms: number }; broker: ServiceBroker }) {
  await delay(params.ms);
  return { node: broker.nodeID };
}

/** Counts its calls, and fails the first so many of them. */
function counting() {
  let calls = 0;
  return ({ params: { failures, type } }: { params: z.output<typeof Plan> }) => {
    calls++;
    if (calls <= failures) throw new Errors.MoleculerRetryableError('As it was told to', 503, type);
    return { calls };
  };
}

/** A service that answers from wherever it is, fails when it is told to, and counts. */
export function echo(): ServiceSchema {
  const schema = {
    name: 'echo',
    actions: {
      say: action(say, {
        summary: 'Repeat a word',
        auth: 'public',
        handler: ({ params, broker }) => ({ heard: params.word, node: broker.nodeID }),
      }),
      wait: action(wait, { summary: 'Answer later', auth: 'public', rest: 'GET /wait', handler: answerLater }),
      work: action(work, { summary: 'Answer later', auth: 'public', rest: 'POST /work', handler: answerLater }),
      read: action(read, { summary: 'Fail at first', auth: 'public', rest: 'GET /', handler: counting() }),
      write: action(write, { summary: 'Fail at first', auth: 'public', rest: 'POST /', handler: counting() }),
      repeat: action(repeat, { summary: 'Fail at first', auth: 'internal', idempotent: true, handler: counting() }),
      fail: action(fail, {
        summary: 'Fail',
        auth: 'public',
        handler({ params: { status } }) {
          if (status === 422) throw commonProblems.VALIDATION_FAILED();
          if (status === 503) throw commonProblems.UNAVAILABLE();
          if (status === 500) throw new Error('A bug');
          return {};
        },
      }),
    },
  };
  return schema as unknown as ServiceSchema;
}
