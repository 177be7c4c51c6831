import type { Service, ServiceSchema } from 'moleculer';
import { DataTypes } from 'sequelize';
import { v7 as uuidv7 } from 'uuid';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { action, contract, Nothing } from '../../mixins/contract';
import { type DbVars, db } from '../../mixins/db/db.mixin';
import { migration } from '../../mixins/db/migrations';
import { table } from '../../mixins/db/model';
import { statement } from '../../mixins/db/statement';
import type { DomainService } from '../../mixins/domain.mixin';
import { commonProblems, problems } from '../../mixins/errors';
import { Id } from '../../mixins/fields';
import { idempotencyMigration, purgeIdempotencyKeys } from '../../mixins/idempotency/answers';
import { freshDatabase } from '../helpers/database';
import { type SmallBroker, smallBroker, somebody } from '../helpers/small-broker';
import { until } from '../helpers/until';

const things = migration(
  'things',
  'create table things (id uuid primary key, name text not null, is_done boolean not null default false)',
);
const domain = { name: 'tasks', migrations: [idempotencyMigration, things], constraints: {} } as const;
interface ThingRow {
  id: string;
  name: string;
}
const thingTable = table<ThingRow>('things', { id: { type: DataTypes.UUID, primaryKey: true }, name: DataTypes.TEXT });

const thingsProblems = problems({
  THINGS_NOT_FOUND: [404, 'There is no such thing.'],
  THINGS_DONE: [409, 'It is done already.'],
  THINGS_NAME_ODD: [422, 'That name is odd.'],
});
const Thing = z.object({ name: z.string(), id: Id });
const make = contract('things.make', { params: z.strictObject({ name: z.string().min(2) }), returns: Thing });
const finish = contract('things.finish', { params: z.strictObject({ id: Id }), returns: Nothing });
const invite = contract('things.invite', { params: z.strictObject({ name: z.string() }), returns: Thing });
const preview = contract('things.preview', { params: z.strictObject({ name: z.string() }), returns: Thing });
const rename = contract('things.rename', { params: z.strictObject({ name: z.string() }), returns: Thing });
const twice = contract('things.twice', { params: z.strictObject({}), returns: Nothing });
const outer = contract('things.outer', { params: z.strictObject({}), returns: z.array(Thing) });
const upload = contract('things.upload', { params: z.strictObject({ csv: z.instanceof(Buffer) }), returns: Thing });

const findThing = statement<{ id: string }, { isDone: boolean }>(
  'things.find',
  'select is_done as "isDone" from things where id = $id',
);
const markDone = statement<{ id: string }>('things.markDone', 'update things set is_done = true where id = $id');

/** How the next command behaves. */
const behaviour: { runs: number; hold?: Promise<void>; fail?: unknown } = { runs: 0 };

const service: DomainService = {
  name: 'things',
  mixins: [db(domain, thingTable)],
  actions: {
    make: action(make, {
      summary: 'Make',
      rest: 'POST /',
      auth: 'authenticated',
      status: 201,
      async handler(ctx) {
        return this.inTransaction(ctx, async tx => {
          behaviour.runs++;
          const thing = { id: uuidv7(), name: ctx.params.name };
          await tx.insert(thingTable, thing);
          await behaviour.hold;
          if (behaviour.fail) throw behaviour.fail;
          return { ...thing, secret: 'never leaves' };
        });
      },
    }),
    finish: action(finish, {
      summary: 'Finish',
      rest: 'POST /:id/finish',
      auth: 'authenticated',
      status: 204,
      async handler(ctx) {
        const thing = await findThing.maybe(this.db, ctx.params);
        if (!thing) throw thingsProblems.THINGS_NOT_FOUND({ detail: 'Look again.' });
        if (thing.isDone) throw thingsProblems.THINGS_DONE();
        await this.inTransaction(ctx, async tx => {
          behaviour.runs++;
          await markDone.all(tx, ctx.params);
        });
      },
    }),
    invite: action(invite, {
      summary: 'Invite',
      rest: 'POST /invite',
      auth: 'authenticated',
      secret: true,
      async handler(ctx) {
        return this.inTransaction(ctx, async tx => {
          behaviour.runs++;
          const thing = { id: uuidv7(), name: ctx.params.name };
          await tx.insert(thingTable, thing);
          return thing;
        });
      },
    }),
    preview: action(preview, {
      summary: 'Preview',
      rest: 'POST /preview',
      auth: 'authenticated',
      handler(ctx) {
        behaviour.runs++;
        if (ctx.params.name === 'odd') throw thingsProblems.THINGS_NAME_ODD({ errors: [{ field: 'name', message: 'odd' }] });
        ctx.meta.$statusCode = 200;
        return { id: uuidv7(), name: ctx.params.name };
      },
    }),
    rename: action(rename, {
      summary: 'Rename',
      rest: 'PATCH /',
      auth: 'authenticated',
      async handler(ctx) {
        behaviour.runs++;
        return this.inTransaction(ctx, async () => ({ id: uuidv7(), name: ctx.params.name }));
      },
    }),
    twice: action(twice, {
      summary: 'Change in two transactions',
      rest: 'POST /twice',
      auth: 'authenticated',
      async handler(ctx) {
        await this.inTransaction(ctx, async () => undefined);
        await this.inTransaction(ctx, async () => undefined);
      },
    }),
    outer: action(outer, {
      summary: 'Call others',
      rest: 'POST /outer',
      auth: 'authenticated',
      handler: ctx => Promise.all([make.call(ctx, { name: 'one' }), make.call(ctx, { name: 'two' })]),
    }),
    upload: action(upload, {
      summary: 'Upload',
      rest: 'POST /upload',
      auth: 'authenticated',
      handler(ctx) {
        behaviour.runs++;
        return { id: uuidv7(), name: ctx.params.csv.toString() };
      },
    }),
  },
};
const auth: ServiceSchema = {
  name: 'auth',
  mixins: [db(domain, thingTable)],
  actions: {
    logout: action(contract('auth.logout', { params: z.strictObject({}), returns: Nothing }), {
      summary: 'Log out',
      rest: 'POST /logout',
      auth: 'authenticated',
      handler() {
        behaviour.runs++;
      },
    }),
  },
};

let app: SmallBroker;
beforeAll(async () => {
  app = await smallBroker([service, auth], { databaseUrls: { tasks: await freshDatabase('idempotency') } });
});
beforeEach(() => {
  behaviour.runs = 0;
  behaviour.hold = undefined;
  behaviour.fail = undefined;
});

const database = () => (app.broker.getLocalService('things') as Service & DbVars).db;
const countThings = async (name: string) => {
  const count = statement<{ name: string }, { count: number }>('test.count', 'select count(*) from things where name = $name');
  return (await count.one(database(), { name })).count;
};
const ask = (user: ReturnType<typeof somebody>, idempotencyKey: string, name: string, of = 'things.make') =>
  app.answerTo(user, of, { name }, { idempotencyKey });
const replayed = { $responseHeaders: { 'Idempotency-Replayed': 'true' } };

describe('a repeated Idempotency-Key', () => {
  it('gets the first answer and status, and changes nothing', async () => {
    const user = somebody();
    const first = await ask(user, 'k1', 'first');
    const second = await ask(user, 'k1', 'first');
    expect(second.result).toEqual(first.result);
    expect(JSON.stringify(second.result)).toBe(JSON.stringify(first.result));
    expect(first.meta.$responseHeaders).toBeUndefined();
    expect(second.meta).toMatchObject({ ...replayed, $statusCode: 201 });
    expect(await countThings('first')).toBe(1);
  });

  it('keeps nothing that the contract does not name', async () => {
    const user = somebody();
    await ask(user, 'k1', 'bare');
    const keys = statement<{ userId: string }, { result: object }>(
      'test.kept',
      'select result from idempotency_keys where user_id = $userId',
    );
    expect(Object.keys((await keys.one(database(), { userId: user.id })).result)).toEqual(['name', 'id']);
  });

  it('is another key for somebody else, and for another action', async () => {
    const [user, other] = [somebody(), somebody()];
    await ask(user, 'k1', 'scoped');
    await ask({ ...other, companyId: user.companyId }, 'k1', 'scoped');
    await ask({ ...user, companyId: uuidv7() }, 'k1', 'scoped');
    await ask(user, 'k1', 'scoped', 'things.invite');
    expect(await countThings('scoped')).toBe(4);
  });

  it('is refused with another body, also an invalid one, and the first answer stays', async () => {
    const user = somebody();
    const first = await ask(user, 'k1', 'original');
    await expect(ask(user, 'k1', 'different')).rejects.toMatchObject({ code: 422, type: 'IDEMPOTENCY_KEY_REUSED' });
    await expect(ask(user, 'k1', '')).rejects.toMatchObject({ type: 'IDEMPOTENCY_KEY_REUSED' });
    expect((await ask(user, 'k1', 'original')).result).toEqual(first.result);
    expect(await countThings('different')).toBe(0);
  });

  it('replays before the handler looks at what the first request has changed', async () => {
    const user = somebody();
    const { result } = await ask(user, 'make', 'finished');
    const { id } = result as { id: string };
    const done = () => app.answerTo(user, 'things.finish', { id }, { idempotencyKey: 'k2' });
    expect((await done()).result).toBeUndefined();
    const again = await done();
    expect(again.result).toBeUndefined();
    expect(again.meta).toMatchObject({ ...replayed, $statusCode: 204 });
    await expect(app.callAs(user, 'things.finish', { id })).rejects.toMatchObject({ code: 409 });
  });

  it('replays the refusals of the handler: 404, 409 and 422', async () => {
    const user = somebody();
    const id = uuidv7();
    const finished = () => app.answerTo(user, 'things.finish', { id }, { idempotencyKey: 'k1' });
    const refusal = await finished().catch(error => error);
    expect(refusal).toMatchObject({ code: 404, type: 'THINGS_NOT_FOUND', data: { detail: 'Look again.' } });
    await statement<{ id: string }>('test.insert', `insert into things values ($id, 'late')`).all(database(), { id });
    const meta = { idempotencyKey: 'k1' };
    const repeated = await app.callAs(user, 'things.finish', { id }, meta).catch(error => error);
    expect(repeated).toMatchObject({ code: 404, type: 'THINGS_NOT_FOUND', message: refusal.message, data: refusal.data });
    await expect(app.answerTo(user, 'things.finish', { id }, { idempotencyKey: 'k2' })).resolves.toBeDefined();

    const odd = () => ask(user, 'k3', 'odd', 'things.preview').catch(error => error);
    expect(await odd()).toMatchObject({ code: 422, type: 'THINGS_NAME_ODD' });
    expect(await odd()).toMatchObject({ code: 422, type: 'THINGS_NAME_ODD', data: { errors: [{ field: 'name' }] } });
    expect(behaviour.runs).toBe(2);

    behaviour.fail = thingsProblems.THINGS_DONE();
    await expect(ask(user, 'k4', 'refused')).rejects.toMatchObject({ code: 409 });
    behaviour.fail = undefined;
    await expect(ask(user, 'k4', 'refused')).rejects.toMatchObject({ code: 409, type: 'THINGS_DONE' });
    expect(await countThings('refused')).toBe(0);
  });

  it('tries again after anything else: an invalid body, a failure, a service out of reach', async () => {
    const user = somebody();
    await expect(ask(user, 'k1', 'x')).rejects.toMatchObject({ code: 422, type: 'VALIDATION_FAILED' });
    await ask(user, 'k1', 'valid');
    for (const fail of [
      new Error('bug'),
      commonProblems.UNAVAILABLE(),
      commonProblems.TOO_MANY_REQUESTS(),
      commonProblems.FORBIDDEN(),
    ]) {
      behaviour.fail = fail;
      await expect(ask(user, 'k2', 'unlucky')).rejects.toThrow();
      expect(await countThings('unlucky')).toBe(0);
    }
    behaviour.fail = undefined;
    await ask(user, 'k2', 'unlucky');
    expect(await countThings('unlucky')).toBe(1);
  });

  it('gets 409 where the answer held a secret, and nothing of it is stored', async () => {
    const user = somebody();
    await ask(user, 'k1', 'confidential', 'things.invite');
    await expect(ask(user, 'k1', 'confidential', 'things.invite')).rejects.toMatchObject({
      code: 409,
      type: 'IDEMPOTENCY_ANSWER_NOT_KEPT',
    });
    await expect(ask(user, 'k1', 'other', 'things.invite')).rejects.toMatchObject({ type: 'IDEMPOTENCY_KEY_REUSED' });
    expect(await countThings('confidential')).toBe(1);
    const kept = await statement<{ userId: string }, { text: string }>(
      'test.text',
      'select row_to_json(k)::text as text from idempotency_keys k where user_id = $userId',
    ).one(database(), { userId: user.id });
    expect(kept.text).not.toContain('confidential');
  });

  it('replays answers that came without a change', async () => {
    const user = somebody();
    const first = await ask(user, 'k1', 'look', 'things.preview');
    const second = await ask(user, 'k1', 'look', 'things.preview');
    expect(second.result).toEqual(first.result);
    expect(second.meta).toMatchObject({ ...replayed, $statusCode: 200 });
    expect(behaviour.runs).toBe(1);
  });

  it('tells uploaded files apart', async () => {
    const user = somebody();
    const send = (csv: string) => app.callAs(user, 'things.upload', { csv: Buffer.from(csv) }, { idempotencyKey: 'k1' });
    expect(await send('a,b')).toEqual(await send('a,b'));
    await expect(send('a,c')).rejects.toMatchObject({ type: 'IDEMPOTENCY_KEY_REUSED' });
    expect(behaviour.runs).toBe(1);
  });

  it('is heeded by POST only, and not by /auth', async () => {
    const user = somebody();
    await ask(user, 'k1', 'renamed', 'things.rename');
    await ask(user, 'k1', 'renamed', 'things.rename');
    await app.callAs(user, 'auth.logout', {}, { idempotencyKey: 'k1' });
    await app.callAs(user, 'auth.logout', {}, { idempotencyKey: 'k1' });
    expect(behaviour.runs).toBe(4);
  });

  it('belongs to the command that it came with, not to calls that its handler makes', async () => {
    const user = somebody();
    const first = await app.answerTo(user, 'things.outer', {}, { idempotencyKey: 'k1' });
    const second = await app.answerTo(user, 'things.outer', {}, { idempotencyKey: 'k1' });
    expect((first.result as { name: string }[]).map(({ name }) => name)).toEqual(['one', 'two']);
    expect(second.result).toEqual(first.result);
    expect(behaviour.runs).toBe(2);
  });

  it('is asked for only after the token', async () => {
    const call = app.broker.call('things.make', { name: 'nobody' }, { meta: { idempotencyKey: 'k1' } });
    await expect(call).rejects.toMatchObject({ code: 401 });
  });

  it('finds a command with two transactions out', async () => {
    const user = somebody();
    await app.callAs(user, 'things.twice');
    await expect(app.callAs(user, 'things.twice', {}, { idempotencyKey: 'k1' })).rejects.toThrow('two transactions');
  });
});

/** Whether so many transactions wait for another one. */
const areWaiting = async (most: number) => {
  const count = statement<object, { count: number }>(
    'test.waiting',
    `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return (await count.one(database(), {})).count >= most;
};

describe('twins', () => {
  it('make one change when 20 come at once, and all hear the same', async () => {
    const user = somebody();
    const { promise, resolve } = Promise.withResolvers<void>();
    behaviour.hold = promise;
    const asked = Array.from({ length: 20 }, () => ask(user, 'k1', 'raced'));
    await until(() => areWaiting(4));
    resolve();
    const answers = await Promise.all(asked);
    expect(await countThings('raced')).toBe(1);
    expect(new Set(answers.map(({ result }) => JSON.stringify(result))).size).toBe(1);
    expect(answers.filter(({ meta }) => meta.$responseHeaders?.['Idempotency-Replayed'])).toHaveLength(19);
  });

  it('also hear the same when the handler looks before it changes', async () => {
    const user = somebody();
    const { result } = await ask(user, 'make', 'raced to the end');
    const { id } = result as { id: string };
    behaviour.runs = 0;
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => app.answerTo(user, 'things.finish', { id }, { idempotencyKey: 'k1' })),
    );
    expect(answers.map(answer => answer.result)).toEqual(Array(20).fill(undefined));
    const [{ count } = { count: 0 }] = await statement<{ userId: string }, { count: number }>(
      'test.keys',
      `select count(*) from idempotency_keys where user_id = $userId and action = 'things.finish' and status = 204`,
    ).all(database(), { userId: user.id });
    expect(count).toBe(1);
  });

  it('wait two seconds for the first one, then are told that it is still at work', async () => {
    const user = somebody();
    const { promise, resolve } = Promise.withResolvers<void>();
    behaviour.hold = promise;
    const first = ask(user, 'k1', 'slow');
    await until(() => behaviour.runs === 1);
    const start = Date.now();
    await expect(ask(user, 'k1', 'slow')).rejects.toMatchObject({
      code: 409,
      type: 'IDEMPOTENCY_IN_PROGRESS',
      data: { retryAfter: 1 },
    });
    expect(Date.now() - start).toBeGreaterThan(1_500);
    expect(Date.now() - start).toBeLessThan(3_500);
    resolve();
    const { result } = await first;
    expect((await ask(user, 'k1', 'slow')).result).toEqual(result);
    expect(await countThings('slow')).toBe(1);
  });

  it('with another body are refused, not answered, when the first one is done', async () => {
    const user = somebody();
    const { promise, resolve } = Promise.withResolvers<void>();
    behaviour.hold = promise;
    const first = ask(user, 'k1', 'mine');
    await until(() => behaviour.runs === 1);
    const second = ask(user, 'k1', 'yours');
    second.catch(() => undefined);
    await until(() => areWaiting(1));
    resolve();
    await first;
    await expect(second).rejects.toMatchObject({ type: 'IDEMPOTENCY_KEY_REUSED' });
    expect(await countThings('yours')).toBe(0);
  });

  it('take over when the first one fails', async () => {
    const user = somebody();
    const { promise, reject } = Promise.withResolvers<void>();
    behaviour.hold = promise;
    const first = ask(user, 'k1', 'taken over');
    first.catch(() => undefined);
    await until(() => behaviour.runs === 1);
    behaviour.hold = undefined;
    const second = ask(user, 'k1', 'taken over');
    await until(() => areWaiting(1));
    reject(new Error('crashed'));
    await expect(first).rejects.toThrow('crashed');
    await expect(second).resolves.toMatchObject({ result: { name: 'taken over' } });
    expect(await countThings('taken over')).toBe(1);
  });
});

describe('a command that dies half-way', () => {
  it('leaves neither a change nor a key behind', async () => {
    const user = somebody();
    const { promise, resolve } = Promise.withResolvers<void>();
    behaviour.hold = promise;
    const first = ask(user, 'k1', 'cut off');
    first.catch(() => undefined);
    await until(() => behaviour.runs === 1);
    await statement(
      'test.kill',
      `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and state = 'idle in transaction'`,
    ).all(database(), {});
    resolve();
    await expect(first).rejects.toThrow();
    behaviour.hold = undefined;
    await expect(ask(user, 'k1', 'cut off')).resolves.toMatchObject({ result: { name: 'cut off' } });
    expect(await countThings('cut off')).toBe(1);
  });
});

describe('a kept answer', () => {
  const age = statement<{ userId: string; by: string }>(
    'test.age',
    'update idempotency_keys set created_at = created_at - $by::interval where user_id = $userId',
  );

  it('is given for 24 hours; then the key is free again', async () => {
    const user = somebody();
    await ask(user, 'k1', 'aged');
    await age.all(database(), { userId: user.id, by: '23 hours 59 minutes' });
    await ask(user, 'k1', 'aged');
    expect(await countThings('aged')).toBe(1);
    await age.all(database(), { userId: user.id, by: '1 minute' });
    await ask(user, 'k1', 'aged');
    expect(await countThings('aged')).toBe(2);
    await ask(user, 'k1', 'aged');
    expect(await countThings('aged')).toBe(2);
  });

  it('is purged after that, not before', async () => {
    const [old, young] = [somebody(), somebody()];
    await ask(old, 'k1', 'purged');
    await ask(young, 'k1', 'kept');
    await age.all(database(), { userId: old.id, by: '24 hours 1 second' });
    await purgeIdempotencyKeys(database(), 100);
    const left = await statement<object, { userId: string }>('test.left', 'select user_id as "userId" from idempotency_keys').all(
      database(),
      {},
    );
    const users = left.map(({ userId }) => userId);
    expect(users).toContain(young.id);
    expect(users).not.toContain(old.id);
  });
});
