import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { recordAll, recordTombstone } from '../../mixins/events/record';
import { until } from '../helpers/until';
import { companyId, greet, personCreated, savePerson, savePersonIn, somePerson } from './carrier-node';
import { Probe } from './carrier-probe';

/** What reaches whom, in which order, how often. */
export function describeDelivery(carrierModule?: string): void {
  describe('delivery', () => {
    it('brings what is committed to replicas and reactions, and nothing of what is rolled back', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner } = await probe.start();
      const rolledBack = owner.database.inTransaction(undefined, async tx => {
        await savePersonIn(tx, { firstName: 'Nobody' });
        throw new Error('changed my mind');
      });
      await expect(rolledBack).rejects.toThrow('changed my mind');
      const person = await savePerson(owner.database);
      const [effect] = await until(async () => (await probe.effects('users.create')).length > 0 && probe.effects());
      expect(effect).toMatchObject({ topic: 'users.create', key: person.id, version: 1 });
      const { id, firstName, email, teamIds, startsOn } = person;
      expect(await probe.replicas()).toEqual([{ id, firstName, email, teamIds, startsOn, version: 1, removed: false }]);
      expect(await probe.count('owner', 'outbox where published_at is null')).toBe(0);
    });

    it('keeps the order of each key, with writers racing, and runs every reaction once', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner } = await probe.start();
      const ids = Array.from({ length: 8 }, () => uuidv7());
      await Promise.all(ids.flatMap(id => Array.from({ length: 20 }, (_, n) => savePersonWhenThere(owner.database, id, n))));
      const effects = await until(async () => {
        const all = await probe.effects();
        return all.length >= 160 && all;
      });
      expect(effects).toHaveLength(160);
      for (const id of ids) {
        const updates = effects.filter(({ key, topic }) => key === id && topic === 'users.update');
        expect(updates.map(({ version }) => version)).toEqual(Array.from({ length: 19 }, (_, n) => n + 2));
      }
      expect((await probe.replicas()).map(({ version }) => version)).toEqual(ids.map(() => 20));
    });

    it('knows how far the group is behind while it works, and that it is not when all is done', async () => {
      const probe = await Probe.make(carrierModule);
      const { promise: held, resolve: release } = Promise.withResolvers<void>();
      const { owner, follower } = await probe.start({ behaviour: () => held });
      await savePerson(owner.database);
      const behind = () => follower.lag.reduce((sum, { lag }) => sum + lag, 0);
      await until(() => behind() > 0);
      release();
      await until(async () => (await probe.effects()).length === 1 && behind() === 0);
      expect(follower.lag.length).toBeGreaterThan(0);
    });

    it('delivers twice what is sent twice, and the reaction happens once', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner } = await probe.start();
      const person = await savePerson(owner.database);
      await until(async () => (await probe.effects()).length === 1);
      await probe.owner.query(
        `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
         select id, topic, key, company_id, version, compacted, envelope from outbox cross join generate_series(1, 3)`,
      );
      await greet(owner.database, person.id);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(await probe.effects('users.create')).toHaveLength(1);
    });

    it('leaves a replica as it is when an older state comes late', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner } = await probe.start();
      const { id } = await savePerson(owner.database, { firstName: 'Old' });
      await savePerson(owner.database, { id, firstName: 'New' });
      await until(async () => (await probe.replicas())[0]?.firstName === 'New');
      await probe.owner.query(
        `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
         select gen_random_uuid(), topic, key, company_id, version, compacted,
           jsonb_set(envelope::jsonb, '{id}', to_jsonb(gen_random_uuid()))::text
         from outbox where version = 1`,
      );
      // A reaction is not guarded by the version: what comes late happens all the same.
      await until(async () => (await probe.effects('users.create')).length === 2);
      expect(await probe.replicas()).toMatchObject([{ firstName: 'New', version: 2 }]);
    });

    it('passes over tombstones', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner, follower } = await probe.start();
      const { id } = await savePerson(owner.database);
      await owner.database.inTransaction(undefined, tx => recordTombstone(tx, personCreated, { key: id, companyId }));
      await greet(owner.database, id);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      await until(async () => follower.counters.tombstones === 1 && (await probe.replicas()).length === 1);
      expect(follower.counters.dead).toBe(0);
    });

    it('reads a topic that a group has never followed from its beginning', async () => {
      const probe = await Probe.make(carrierModule);
      const first = await probe.start({ without: 'users.greeted' });
      const { id } = await savePerson(first.owner.database);
      await greet(first.owner.database, id, 1);
      await savePerson(first.owner.database, { id });
      await until(async () => (await probe.effects()).length === 2);
      await probe.stop(first);
      const second = await probe.start();
      await greet(second.owner.database, id, 2);
      await until(async () => (await probe.effects('users.greeted')).length === 2);
      expect((await probe.effects('users.greeted')).map(({ version }) => version)).toEqual([1, 2]);
      expect(await probe.effects()).toHaveLength(4);
    });

    it('carries 5,000 events of one transaction, in order', async () => {
      const probe = await Probe.make(carrierModule);
      const { owner } = await probe.start();
      await owner.database.inTransaction(undefined, async tx => {
        const people = Array.from({ length: 5_000 }, (_, n) => somePerson({ firstName: `Person ${n}` }));
        await recordAll(tx, personCreated, people);
      });
      await until(async () => (await probe.count('follower', 'effects')) >= 5_000, { timeout: 20_000 });
      expect(await probe.count('follower', 'user_infos')).toBe(5_000);
      expect(await probe.count('follower', 'effects')).toBe(5_000);
    });
  });
}

/** Makes the person or, if another was faster, changes them. */
async function savePersonWhenThere(database: Parameters<typeof savePerson>[0], id: string, n: number): Promise<void> {
  await database.inTransaction(undefined, async tx => {
    await tx.execute({ name: '', text: 'select pg_advisory_xact_lock(hashtext($1))' }, [id]);
    await savePersonIn(tx, { id, firstName: `Nr ${n}` });
  });
}
