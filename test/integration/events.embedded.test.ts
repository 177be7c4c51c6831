import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import type { Hub } from '../../mixins/events/hub';
import { recordTombstone } from '../../mixins/events/record';
import { describeCarrier } from '../contract/carrier';
import { companyId, greet, personCreated, savePerson } from '../contract/carrier-node';
import { Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';

describeCarrier('embedded');

describe('the outbox as a log', () => {
  it('gives every row one position, in the order of its key, also where transactions commit late', async () => {
    const probe = await Probe.make();
    const { owner } = await probe.start();
    const { id: first } = await savePerson(owner.database);
    await until(async () => (await probe.effects()).length === 1);
    const late = uuidv7();
    const slow = await probe.recordSlowly(late);
    const { id: fast } = await savePerson(owner.database);
    await until(async () => (await probe.effects()).length === 2);
    await slow.commit();
    await until(async () => (await probe.effects()).length === 3);
    const { rows } = await probe.owner.query('select key, position::int from outbox order by seq');
    expect(rows).toEqual([
      { key: first, position: 1 },
      { key: late, position: 3 },
      { key: fast, position: 2 },
    ]);
  });

  it('brings each event to one of the processes that follow it', async () => {
    const probe = await Probe.make();
    const [first, second] = [await probe.start(), await probe.start()];
    const people = await Promise.all(
      Array.from({ length: 300 }, (_, n) => savePerson((n % 2 === 0 ? first : second).owner.database)),
    );
    await until(async () => (await probe.count('follower', 'effects')) >= people.length);
    await greet(second.owner.database, people[0]!.id);
    await until(async () => (await probe.effects('users.greeted')).length === 1);
    expect(await probe.count('follower', 'effects')).toBe(people.length + 1);
  });

  it('is read from its beginning when its database was restored from a backup', async () => {
    const probe = await Probe.make();
    const first = await probe.start();
    const { id } = await savePerson(first.owner.database);
    for (const nth of [1, 2, 3]) await greet(first.owner.database, id, nth);
    await until(async () => (await probe.effects()).length === 4);
    await probe.stop(first);
    // The backup knows of the first event; what came after it is recorded anew, in other words.
    await probe.owner.query('delete from outbox where position > 1');
    await probe.owner.query('update event_log set last_position = 1');
    const second = await probe.start();
    await greet(second.owner.database, id, 10);
    await until(async () => (await probe.effects('users.greeted')).length === 4);
    expect((await probe.effects()).map(({ version }) => version)).toEqual([1, 1, 2, 3, 10]);
  });

  it('is read from its beginning when it is another log than the group knew', async () => {
    const probe = await Probe.make();
    const first = await probe.start();
    const { id } = await savePerson(first.owner.database);
    await until(async () => (await probe.effects()).length === 1);
    await probe.stop(first);
    await probe.owner.query('truncate outbox');
    await probe.owner.query('update event_log set id = gen_random_uuid(), last_position = 0');
    const alone = await probe.start({ only: 'owner' });
    for (const nth of [1, 2, 3]) await greet(alone.owner.database, id, nth);
    await until(async () => (await probe.count('owner', 'outbox where position is null')) === 0);
    await probe.stop(alone);
    await probe.start();
    await until(async () => (await probe.effects('users.greeted')).length === 3);
  });

  it('is read on after it was declared another log while the group reads', async () => {
    const probe = await Probe.make();
    const { owner } = await probe.start();
    const { id } = await savePerson(owner.database);
    await until(async () => (await probe.effects()).length === 1);
    await probe.owner.query('update event_log set id = gen_random_uuid()');
    await greet(owner.database, id);
    await until(async () => (await probe.effects()).length === 2);
  });

  describe('retention', () => {
    const age = `update outbox set published_at = now() - interval '8 days', recorded_at = now() - interval '8 days'`;

    it('keeps the newest row of each key of a state topic, and no tombstone', async () => {
      const probe = await Probe.make();
      const { owner } = await probe.start();
      const [kept, erased] = [await savePerson(owner.database), await savePerson(owner.database)];
      for (const firstName of ['2', '3']) await savePerson(owner.database, { id: kept.id, firstName });
      await greet(owner.database, kept.id);
      await owner.database.inTransaction(undefined, tx => recordTombstone(tx, personCreated, { key: erased.id, companyId }));
      await until(async () => (await probe.effects()).length === 5);
      await until(async () => (await probe.count('owner', 'outbox where position is null')) === 0);
      await probe.owner.query(age);
      await purgeTo(probe, owner, 2);
      const { rows } = await probe.owner.query('select topic, version from outbox order by seq');
      expect(rows).toEqual([
        { topic: 'users.create', version: 1 },
        { topic: 'users.update', version: 3 },
      ]);
      // Positions go on after the last one, whatever was deleted.
      await greet(owner.database, kept.id, 2);
      await until(async () => (await probe.effects()).length === 6);
    });

    it('keeps what is not stamped, and what some group has not read', async () => {
      const probe = await Probe.make();
      const alone = await probe.start({ only: 'owner' });
      const { id } = await savePerson(alone.owner.database);
      for (const nth of [1, 2, 3]) await greet(alone.owner.database, id, nth);
      await until(async () => (await probe.count('owner', 'outbox where position is null')) === 0);
      await probe.owner.query(age);
      // Nobody has ever read it.
      await purgeTo(probe, alone.owner, 4);
      await probe.owner.query(`insert into event_log_readers (group_name, position) values ('notifications', 4), ('tasks', 3)`);
      await probe.owner.query(`update outbox set position = null where version = 2 and topic = 'users.greeted'`);
      await purgeTo(probe, alone.owner, 3);
      const { rows } = await probe.owner.query(`select version from outbox where topic = 'users.greeted' order by seq`);
      expect(rows).toEqual([{ version: 2 }, { version: 3 }]);
      // A group that has not come for 30 days is not waited for.
      await probe.owner.query(`update event_log_readers set seen_at = now() - interval '31 days' where group_name = 'tasks'`);
      await purgeTo(probe, alone.owner, 2);
    });

    it('is the work of one process at a time', async () => {
      const probe = await Probe.make();
      const { owner } = await probe.start({ only: 'owner' });
      const locker = await probe.owner.connect();
      await locker.query('select pg_advisory_lock(4120918)');
      await probe.owner.query(`insert into inbox values ('x', 'y', now() - interval '31 days')`);
      expect(await owner.purge()).toBe(0);
      expect(await probe.count('owner', 'inbox')).toBe(1);
      locker.release(true);
      await until(async () => (await owner.purge().then(() => probe.count('owner', 'inbox'))) === 0);
    });
  });
});

/** Purges until so many rows are left in the outbox, and sees that once more takes nothing; the one at the start may be at it. */
async function purgeTo(probe: Probe, owner: Hub, left: number): Promise<void> {
  await until(async () => (await owner.purge().then(() => probe.count('owner', 'outbox'))) === left);
  expect(await owner.purge()).toBe(0);
}
