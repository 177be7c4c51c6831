import { describe, expect, it } from 'vitest';
import { peopleArrived } from '../../mixins/events/parking';
import { unknownPerson } from '../../mixins/events/reaction';
import { until } from '../helpers/until';
import { type Behaviour, companyId, greet, type Node } from './carrier-node';
import { Probe } from './carrier-probe';

const ID = '0198c0de-0000-7000-8000-00000000000a';

/** Looks for the person who is greeted, and does not say what it saw before it may. */
function holding(nth: number) {
  const [saw, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let looks = 0;
  const behaviour: Behaviour = async ({ type, subject }, tx) => {
    if (type !== 'users.greeted') return;
    const known = await tx.execute({ name: '', text: 'select from user_infos where id = $1' }, [subject]);
    if (++looks === nth) {
      saw.resolve();
      await release.promise;
    }
    if (known.length === 0) throw unknownPerson(subject);
  };
  return { behaviour, saw: saw.promise, release: () => release.resolve(), looks: () => looks };
}

/** Lets somebody arrive as the replica does, in a transaction that is committed when `held` is done. */
function arrive({ follower }: Node, held: Promise<void> = Promise.resolve()): Promise<void> {
  const text = 'insert into user_infos (id, company_id, version) values ($1, $2, 1)';
  return follower.connections.inTransaction(async tx => {
    await tx.execute({ name: '', text }, [ID, companyId]);
    await peopleArrived(tx, [ID]);
    await held;
  });
}

/** Waits until a transaction of the follower waits for another one. */
async function somebodyWaits(probe: Probe): Promise<void> {
  await until(() => probe.count('follower', `pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`));
}

/**
 * Somebody arrives at the worst moments: nobody waits for the look that there is once a minute. A reaction looks with
 * its chunk, by itself, and once more when it is parked.
 */
export function describeParking(carrierModule?: string): void {
  describe('somebody who arrives', () => {
    it('between a look and the parking is seen by the look after it', async () => {
      const probe = await Probe.make(carrierModule);
      const held = holding(2);
      const node = await probe.start(held);
      await greet(node.owner.database, ID);
      await held.saw;
      await arrive(node);
      held.release();
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(node.follower.counters).toMatchObject({ parked: 1, dead: 0 });
      expect(held.looks()).toBe(3);
      expect(await probe.count('follower', 'parked_events')).toBe(0);
    });

    it('while it is parked is waited for', async () => {
      const probe = await Probe.make(carrierModule);
      const held = holding(2);
      const node = await probe.start(held);
      await greet(node.owner.database, ID);
      await held.saw;
      const commit = Promise.withResolvers<void>();
      const arriving = arrive(node, commit.promise);
      const lock = `pg_locks join pg_database on pg_database.oid = database and datname = current_database()
        where locktype = 'advisory' and mode = 'ShareLock' and granted`;
      await until(() => probe.count('follower', lock));
      held.release();
      await somebodyWaits(probe);
      commit.resolve();
      await arriving;
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(held.looks()).toBe(3);
    });

    it('during the look after it has it looked at again', async () => {
      const probe = await Probe.make(carrierModule);
      const held = holding(3);
      const node = await probe.start(held);
      await greet(node.owner.database, ID);
      await held.saw;
      const arriving = arrive(node);
      await somebodyWaits(probe);
      held.release();
      await arriving;
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(held.looks()).toBe(4);
    });

    it('finds what was parked long before', async () => {
      const probe = await Probe.make(carrierModule);
      const held = holding(0);
      const node = await probe.start(held);
      await greet(node.owner.database, ID);
      await until(() => probe.count('follower', 'parked_events where not is_due'));
      await arrive(node);
      await until(async () => (await probe.effects('users.greeted')).length === 1);
      expect(held.looks()).toBe(4);
    });
  });
}
