import type { ServiceSchema } from 'moleculer';
import { ServiceBroker } from 'moleculer';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { Authentication } from '../../mixins/auth/authentication.middleware';
import { authenticatorOf } from '../../mixins/auth/authenticator';
import { setConfig } from '../../mixins/config';
import { action, contract, type Identity } from '../../mixins/contract';
import { smallBroker, somebody } from '../helpers/small-broker';

const Echo = z.object({ who: z.string().nullable() });
const echo = (name: string) => contract(name, { params: z.strictObject({ word: z.string() }), returns: Echo });
const who = (ctx: { meta: { user?: Identity } }) => ({ who: ctx.meta.user?.id ?? null });

const notes: ServiceSchema = {
  name: 'notes',
  actions: {
    open: action(echo('notes.open'), { summary: 'For all', auth: 'public', handler: who }),
    inside: action(echo('notes.inside'), { summary: 'For services', auth: 'internal', handler: who }),
    mine: action(echo('notes.mine'), { summary: 'For people', auth: 'authenticated', handler: who }),
    rule: action(echo('notes.rule'), { summary: 'For some', auth: ['MANAGER', 'ADMIN'], handler: who }),
    outer: action(echo('notes.outer'), {
      summary: 'Calls another',
      auth: 'authenticated',
      handler: ctx => echo('notes.mine').call(ctx, ctx.params),
    }),
  },
};
const params = { word: 'hello' };

describe('Authentication', async () => {
  const { broker, callAs } = await smallBroker([notes]);
  const employee = somebody('EMPLOYEE');

  it('lets everybody call what is public and services what is internal', async () => {
    await expect(broker.call('notes.open', params)).resolves.toEqual({ who: null });
    await expect(broker.call('notes.inside', params)).resolves.toEqual({ who: null });
  });

  it('says who is calling to whatever is not', async () => {
    await expect(callAs(employee, 'notes.mine', params)).resolves.toEqual({ who: employee.id });
  });

  it('asks for the token first, then for the role, and only then looks at the parameters', async () => {
    await expect(broker.call('notes.rule', {})).rejects.toMatchObject({ code: 401, type: 'UNAUTHENTICATED' });
    await expect(callAs(employee, 'notes.rule', {})).rejects.toMatchObject({ code: 403, type: 'FORBIDDEN' });
    await expect(callAs(somebody('MANAGER'), 'notes.rule', {})).rejects.toMatchObject({ code: 422 });
    await expect(callAs(somebody('ADMIN'), 'notes.rule', params)).resolves.toMatchObject({ who: expect.any(String) });
  });

  it('takes the identity along to calls that a handler makes', async () => {
    await expect(callAs(employee, 'notes.outer', params)).resolves.toEqual({ who: employee.id });
  });

  it('believes no identity that came from elsewhere', async () => {
    const forged = { ...somebody('ADMIN') };
    await expect(broker.call('notes.rule', params, { meta: { user: forged } })).rejects.toMatchObject({ code: 401 });
    await expect(callAs(employee, 'notes.rule', params, { user: forged })).rejects.toMatchObject({ code: 403 });
    await expect(callAs(employee, 'notes.mine', params, { user: forged })).resolves.toEqual({ who: employee.id });
  });

  it('refuses the tokens of a session that has ended', async () => {
    const leaving = somebody();
    await callAs(leaving, 'notes.mine', params);
    authenticatorOf(broker).endSession(leaving.sessionId, Date.now() + 1_000_000);
    await expect(callAs(leaving, 'notes.mine', params)).rejects.toMatchObject({ code: 401 });
  });
});

describe('a service', () => {
  const create = (schema: object) => {
    const broker = new ServiceBroker({
      logger: false,
      internalMiddlewares: false,
      middlewares: [Authentication],
      created: created => setConfig(created, { mode: 'embedded' } as never),
    });
    return () => broker.createService({ name: 'broken', actions: { go: { handler: () => 1, ...schema } } } as ServiceSchema);
  };

  it('does not start with an action that says nothing of who may call it', () => {
    expect(create({})).toThrow('broken.go does not say who may call it');
    expect(create({ rest: 'GET /' })).toThrow('broken.go does not say who may call it');
  });

  it('does not start with an internal action that has a path', () => {
    expect(create({ auth: 'internal', rest: 'GET /' })).toThrow('broken.go is internal');
  });

  it('does not start with an action for nobody', () => {
    expect(create({ auth: [] })).toThrow('broken.go lets no role in');
  });

  it('may keep an action to itself', () => {
    expect(create({ visibility: 'private' })).not.toThrow();
  });
});
