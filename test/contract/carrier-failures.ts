import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { listDead, retryDead } from '../../mixins/events/operators';
import { unknownPerson } from '../../mixins/events/reaction';
import { record } from '../../mixins/events/record';
import { until } from '../helpers/until';
import { type Behaviour, followerServices, greet, greeted, savePerson } from './carrier-node';
import { Lines, Probe } from './carrier-probe';

/** Fails on events whose note says so, until it is told otherwise. */
function failing(): { behaviour: Behaviour; tries: string[]; isMended: boolean } {
  const state = {
    tries: [] as string[],
    isMended: false,
    behaviour: ({ id, data }: Parameters<Behaviour>[0]) => {
      if (data.note !== 'poison') return;
      state.tries.push(id);
      if (!state.isMended) throw new Error('it tastes bad');
    },
  };
  return state;
}

const inbox = (of: string) => `inbox where event_id = '${of}'`;

/** What happens when handlers fail, or what they stand on does. */
export function describeFailures(carrierModule?: string): void {
  describe('failures', () => {
    it('tries an event again that failed, without what the failed try had written', async () => {
      const probe = await Probe.make(carrierModule);
      let tries = 0;
      const { owner, follower } = await probe.start({
        behaviour: ({ data }) => {
          if (data.note === 'flaky' && ++tries < 4) throw new Error('not yet');
        },
      });
      const { id } = await savePerson(owner.database);
      await greet(owner.database, id, 1, 'flaky');
      await until(async () => (await probe.effects('users.greeted')).length > 0);
      expect(tries).toBe(4);
      expect(await probe.effects()).toHaveLength(2);
      expect(follower.counters.dead).toBe(0);
    });

    it('runs a chunk again at once after a deadlock', async () => {
      const probe = await Probe.make(carrierModule);
      const log = new Lines();
      let tries = 0;
      const { owner } = await probe.start({
        log,
        behaviour: ({ data }) => {
          if (data.note === 'deadlock' && ++tries < 4) throw Object.assign(new Error('deadlock detected'), { code: '40P01' });
        },
      });
      const { id } = await savePerson(owner.database);
      await greet(owner.database, id, 1, 'deadlock');
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(tries).toBe(4);
      expect(log.all.filter(line => line.includes('one by one'))).toEqual([]);
    });

    it('gives a poison event up after 5 tries, and the rest flows on in order, of the same key too', async () => {
      const probe = await Probe.make(carrierModule);
      const poison = failing();
      const { broker, owner } = await probe.start({ behaviour: poison.behaviour });
      const people = await Promise.all([1, 2, 3].map(() => savePerson(owner.database)));
      const [first] = people;
      await owner.database.inTransaction(undefined, async tx => {
        for (const nth of [1, 2, 3]) {
          for (const { id: userId, companyId } of people) {
            const note = nth === 2 && userId === first?.id ? 'poison' : '';
            await record(tx, greeted, { userId, companyId, nth, note });
          }
        }
      });
      await until(async () => (await probe.effects('users.greeted')).length === 8);
      const letters = await until(async () => {
        const dead = await listDead(broker, 'notifications');
        return dead.length > 0 && dead;
      });
      expect(letters).toMatchObject([
        { service: 'notifications', kind: 'reaction', topic: 'users.greeted', key: first?.id, error: 'it tastes bad', tries: 5 },
      ]);
      // Once with all the others of its chunk, then by itself.
      expect(poison.tries.length).toBeGreaterThanOrEqual(5);
      expect(new Set(poison.tries)).toEqual(new Set([letters[0]?.eventId]));
      expect(await probe.count('follower', inbox(letters[0]!.eventId))).toBe(1);
      const versions = (await probe.effects('users.greeted'))
        .filter(({ key }) => key === first?.id)
        .map(({ version }) => version);
      expect(versions).toEqual([1, 3]);
    });

    it('does not try a dead letter again when its event is delivered twice, only when an operator says so', async () => {
      const probe = await Probe.make(carrierModule);
      const poison = failing();
      const { broker, owner } = await probe.start({ behaviour: poison.behaviour });
      const { id } = await savePerson(owner.database);
      await greet(owner.database, id, 1, 'poison');
      await until(async () => (await listDead(broker, 'notifications')).length === 1);
      const tries = poison.tries.length;
      await probe.owner.query(
        `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
         select id, topic, key, company_id, version, compacted, envelope from outbox where topic = 'users.greeted'`,
      );
      await greet(owner.database, id, 2);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(poison.tries).toHaveLength(tries);

      expect(await retryDead(broker, 'notifications')).toEqual({ done: 0, dead: 1 });
      expect(await listDead(broker, 'notifications')).toMatchObject([{ tries: 6 }]);
      poison.isMended = true;
      expect(await retryDead(broker, 'notifications')).toEqual({ done: 1, dead: 0 });
      expect(await listDead(broker, 'notifications')).toEqual([]);
      expect((await probe.effects('users.greeted')).map(({ version }) => version)).toEqual([2, 1]);
      expect(await retryDead(broker, 'notifications')).toEqual({ done: 0, dead: 0 });
    });

    it('gives up what breaks its contract, naming the field, and what is no envelope at all', async () => {
      const probe = await Probe.make(carrierModule);
      const { broker, owner } = await probe.start();
      const { id } = await savePerson(owner.database);
      await until(async () => (await probe.effects()).length === 1);
      await probe.owner.query(
        `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
         select gen_random_uuid(), topic, key, company_id, 2, compacted,
           jsonb_set(jsonb_set(envelope::jsonb, '{id}', to_jsonb(gen_random_uuid())), '{data,teamIds}', '"none"')::text
         from outbox
         union all select id, topic, key, company_id, 3, compacted, 'hello' from outbox`,
      );
      await greet(owner.database, id);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      const dead = await until(async () => {
        const letters = await listDead(broker, 'notifications');
        return letters.length === 4 && letters;
      });
      const reasons = dead.map(({ service, kind, error }) => `${service} ${kind}: ${error}`).toSorted();
      expect(reasons).toEqual([
        expect.stringMatching(/^notifications reaction: .*CloudEvents/),
        expect.stringMatching(/^notifications reaction: .*data\.teamIds/),
        expect.stringMatching(/^replicas replica: .*CloudEvents/),
        expect.stringMatching(/^replicas replica: .*data\.teamIds/),
      ]);
      expect(await probe.replicas()).toMatchObject([{ version: 1 }]);
    });

    it('takes a handler that swallows an error of the database for failed: nothing of it would be committed', async () => {
      const probe = await Probe.make(carrierModule);
      const { broker, owner } = await probe.start({
        behaviour: async ({ data }, tx) => {
          if (data.note === 'swallow') await tx.execute({ name: '', text: 'select 1 / 0' }, []).catch(() => undefined);
        },
      });
      const { id } = await savePerson(owner.database);
      await greet(owner.database, id, 1, 'swallow');
      await greet(owner.database, id, 2);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(await listDead(broker, 'notifications')).toMatchObject([{ error: expect.stringContaining('aborted') }]);
    });

    it('parks a reaction about somebody unknown until they arrive, and gives it up after 24 hours', async () => {
      const probe = await Probe.make(carrierModule);
      const { broker, owner, follower } = await probe.start({
        behaviour: async ({ type, subject }, tx) => {
          if (type !== 'users.greeted') return;
          const known = await tx.execute({ name: '', text: 'select from user_infos where id = $1' }, [subject]);
          if (known.length === 0) throw unknownPerson(subject);
        },
      });
      const known = await savePerson(owner.database);
      // There is no order across topics: who is greeted before they are known here would be parked too.
      await until(async () => (await probe.count('follower', 'user_infos')) === 1);
      const [late, never] = ['0198c0de-0000-7000-8000-00000000000a', '0198c0de-0000-7000-8000-00000000000b'];
      await greet(owner.database, late);
      await greet(owner.database, never);
      await greet(owner.database, known.id);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      // Of other keys, hence perhaps of other partitions, which wait for nobody.
      await until(() => follower.counters.parked === 2);
      expect(await probe.count('follower', 'parked_events')).toBe(2);
      expect(follower.counters.dead).toBe(0);

      await savePerson(owner.database, { id: late });
      await until(async () => (await probe.effects('users.greeted')).length === 2);
      expect((await probe.effects('users.greeted')).map(({ key }) => key)).toEqual([known.id, late]);

      await probe.follower.query(`update parked_events set parked_at = now() - interval '25 hours', is_due = true`);
      // Anybody's arrival has the parked events looked at; nobody waits for this one.
      await probe.follower.query(
        `insert into parked_events (event_id, service, topic, key, envelope, waits_for)
         select 'x', service, topic, key, envelope, $1 from parked_events`,
        [known.id],
      );
      await savePerson(owner.database, { id: known.id });
      const letters = await until(async () => {
        const dead = await listDead(broker, 'notifications');
        return dead.length > 0 && dead;
      });
      expect(letters).toMatchObject([{ key: never, error: expect.stringContaining('24 hours') }]);
    });

    it('waits through an outage of its database, and loses and doubles nothing', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner, follower } = await probe.start();
      const { id } = await savePerson(owner.database);
      await until(async () => (await probe.effects()).length === 1);
      const name = new URL(probe.urls.follower).pathname.slice(1);
      await probe.owner.query(`alter database ${name} allow_connections false`);
      await probe.owner.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
      await expect(new pg.Client(probe.urls.follower).connect()).rejects.toThrow('not currently accepting connections');
      for (let nth = 1; nth <= 50; nth++) await greet(owner.database, id, nth);
      await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0);
      await probe.owner.query(`alter database ${name} allow_connections true`);
      await until(async () => (await probe.effects('users.greeted')).length >= 50, { timeout: 15_000 });
      const versions = (await probe.effects('users.greeted')).map(({ version }) => version);
      expect(versions).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
      expect(follower.counters.dead).toBe(0);
    });

    it('waits for a service of the domain that is being replaced, so that it misses nothing', async () => {
      const probe = await Probe.make(carrierModule);
      const { broker, owner, follower } = await probe.start();
      const { id } = await savePerson(owner.database);
      await until(async () => (await probe.effects()).length === 1);
      await broker.destroyService('notifications');
      expect(follower).toMatchObject({ isConsuming: false, missing: ['notifications'] });
      await greet(owner.database, id);
      await savePerson(owner.database, { id });
      await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0);
      const [, replacement] = followerServices({});
      broker.createService(replacement!);
      await until(async () => (await probe.effects()).length === 3);
      expect(follower).toMatchObject({ isConsuming: true, missing: [] });
    });
  });
}
