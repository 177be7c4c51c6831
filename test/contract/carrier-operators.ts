import { describe, expect, it } from 'vitest';
import type { RecordExtras } from '../../mixins/events/envelope';
import { replay } from '../../mixins/events/operators';
import { record } from '../../mixins/events/record';
import { republish } from '../../mixins/events/republish';
import { eventLogStatus } from '../../mixins/events/status';
import { userInfos } from '../../mixins/replica/tables';
import { readOwner, type Verification, verifyReplica } from '../../mixins/replica/verify';
import { until } from '../helpers/until';
import { ago, greet, type Node, people, personRemoved, savePerson } from './carrier-node';
import { Probe } from './carrier-probe';

function verify({ broker }: Node): Promise<Verification> {
  const owner = (after: string | undefined) => readOwner(broker, 'users', people, after);
  return verifyReplica(broker, owner, { domain: 'notifications', table: userInfos });
}

/** Three people, one of them changed and one removed; resolves when all of it has arrived. */
async function fill(probe: Probe, node: Node, extras?: RecordExtras): Promise<string[]> {
  const { database } = node.owner;
  const before = await probe.count('follower', 'effects');
  const ids: string[] = [];
  for (const firstName of ['Ada', 'Bo', 'Cy']) ids.push((await savePerson(database, { firstName }, extras)).id);
  const [changed, removed] = ids as [string, string, string];
  await savePerson(database, { id: changed, firstName: 'Adele' }, extras);
  await database.inTransaction(undefined, async tx => {
    await tx.execute({ name: '', text: 'delete from people where id = $1' }, [removed]);
    await record(tx, personRemoved, { id: removed, companyId: changed, version: 2 }, extras);
  });
  await until(async () => (await probe.count('follower', 'effects')) === before + 4);
  await until(async () => (await probe.replicas()).some(person => person.removed));
  return ids;
}

/** Starting late, starting again, and what operators do. */
export function describeOperations(carrierModule?: string): void {
  describe('catching up', () => {
    it('fills the replicas of a group that comes late, and reacts to the last 24 hours only', async () => {
      const probe = await Probe.make(carrierModule);
      const alone = await probe.start({ only: 'owner' });
      await savePerson(alone.owner.database, {}, ago(25));
      const fresh = await savePerson(alone.owner.database, {}, ago(23));
      await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0);
      await probe.stop(alone);
      const { follower } = await probe.start();
      await until(async () => (await probe.effects()).length === 1 && (await probe.replicas()).length === 2);
      expect(await probe.effects()).toMatchObject([{ key: fresh.id }]);
      expect(follower.counters.tooOld).toBe(1);
    });

    it('reacts to events that waited while the group was away, up to the life of the inbox', async () => {
      const probe = await Probe.make(carrierModule);
      const first = await probe.start();
      const { id } = await savePerson(first.owner.database);
      await until(async () => (await probe.effects()).length === 1);
      await probe.stop(first);
      const alone = await probe.start({ only: 'owner' });
      for (const days of [31, 29, 2]) await greet(alone.owner.database, id, days, '', ago(days * 24));
      await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0);
      await probe.stop(alone);
      const { follower } = await probe.start();
      await until(async () => (await probe.effects('users.greeted')).length === 2);
      expect((await probe.effects('users.greeted')).map(({ version }) => version)).toEqual([29, 2]);
      expect(follower.counters.tooOld).toBe(1);
    });

    it('gives an emptied follower the same replicas, and no reaction', async () => {
      const probe = await Probe.make(carrierModule);
      const first = await probe.start();
      await fill(probe, first);
      const replicas = await probe.replicas();
      await probe.stop(first);
      const emptied = await probe.withEmptyFollower();
      const second = await emptied.start();
      await replay(second.broker, 'replicas');
      expect(await emptied.replicas()).toEqual(replicas);
      const greeted = () => emptied.effects('users.greeted');
      await until(async () => (await greet(second.owner.database, replicas[0]!.id!).then(greeted)).length > 0);
      expect(await emptied.replicas()).toEqual(replicas);
      // More greetings may be on their way.
      expect((await emptied.effects()).filter(({ topic }) => topic !== 'users.greeted')).toEqual([]);
    });
  });

  describe('replay', () => {
    it('leaves out what was given up once, and applies what stands around it', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start();
      await savePerson(node.owner.database);
      await probe.owner.query(
        `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
         values (gen_random_uuid(), 'users.create', 'poison', gen_random_uuid(), 1, true, '{"id":"poison","type":"users.create"}')`,
      );
      await savePerson(node.owner.database);
      await until(async () => (await probe.count('follower', 'dead_letters')) > 0, { timeout: 20_000 });
      await until(async () => (await probe.replicas()).length === 2);
      const replicas = await probe.replicas();
      await probe.follower.query('truncate user_infos');
      expect(await replay(node.broker, 'replicas')).toEqual({ read: 3, failed: 1 });
      expect(await probe.replicas()).toEqual(replicas);
    });

    it('fills emptied replicas again, without a reaction, while the group goes on', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start();
      const ids = await fill(probe, node);
      const replicas = await probe.replicas();
      await probe.follower.query('truncate user_infos');
      const [read] = await Promise.all([
        replay(node.broker, 'replicas'),
        ...[1, 2, 3].map(nth => greet(node.owner.database, ids[0]!, nth)),
      ]);
      expect(read).toEqual({ read: 5, failed: 0 });
      expect(await probe.replicas()).toEqual(replicas);
      await until(async () => (await probe.effects('users.greeted')).length === 3);
      expect(await probe.effects()).toHaveLength(7);
      await expect(replay(node.broker, 'nobody')).rejects.toThrow('No service nobody with replicas runs here');
    });
  });

  describe('republish', () => {
    it('tells every present state again, and nobody reacts', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start();
      await fill(probe, node);
      await probe.follower.query('delete from user_infos where removed_at is null');
      expect(await republish(node.broker, 'users', people)).toBe(2);
      await until(async () => (await probe.replicas()).length === 3);
      expect((await probe.replicas()).map(({ firstName, version }) => `${firstName} ${version}`)).toEqual([
        'Adele 2',
        ' 2',
        'Cy 1',
      ]);
      expect(await probe.effects()).toHaveLength(4);
      expect(node.follower.counters.republished).toBe(2);
    });

    it('raises versions over those that replicas saw before an older backup was restored', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start();
      const { id } = await savePerson(node.owner.database, { firstName: 'Backup' });
      for (const firstName of ['Lost 2', 'Lost 3']) await savePerson(node.owner.database, { id, firstName });
      await until(async () => (await probe.replicas())[0]?.version === 3);
      await probe.owner.query(`update people set version = 1, state = state || '{"version": 1, "firstName": "Backup"}'::jsonb`);
      await republish(node.broker, 'users', people, { raise: true });
      await until(async () => (await probe.replicas())[0]?.firstName === 'Backup');
      await savePerson(node.owner.database, { id, firstName: 'After' });
      await until(async () => (await probe.replicas())[0]?.firstName === 'After');
      expect(await probe.effects('users.update')).toHaveLength(3);
      expect(await verify(node)).toMatchObject({ isSame: true });
    });
  });

  describe('verify', () => {
    it('finds what is missing, what is too much and what differs', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start();
      const [changed, , kept] = (await fill(probe, node)) as [string, string, string];
      const same = await verify(node);
      expect(same).toMatchObject({ isSame: true, owner: { count: 2 }, replica: { count: 2 }, differing: [] });
      expect(same.owner.checksum).toBe(same.replica.checksum);

      await probe.follower.query(`update user_infos set team_ids = '{}' where id = $1`, [kept]);
      expect(await verify(node)).toMatchObject({ isSame: false, owner: { count: 2 }, replica: { count: 2 }, differing: [kept] });
      await probe.follower.query('delete from user_infos where id = $1', [changed]);
      expect(await verify(node)).toMatchObject({ isSame: false, replica: { count: 1 }, differing: [changed, kept] });
      await probe.owner.query('delete from people');
      expect(await verify(node)).toMatchObject({ isSame: false, owner: { count: 0 }, differing: [kept] });
    });
  });

  describe('retention', () => {
    it('keeps what is needed and deletes the rest', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start({ behaviour: ({ data }) => void (data.note === 'poison' && fail()) });
      const { id } = await savePerson(node.owner.database);
      await greet(node.owner.database, id, 1, 'poison');
      await until(async () => (await probe.count('follower', 'dead_letters')) === 1);
      const days = async (n: number) => {
        await probe.owner.query(`update outbox set published_at = now() - make_interval(days => $1)`, [n]);
        await probe.follower.query(`update inbox set handled_at = now() - make_interval(days => $1)`, [n]);
        await probe.follower.query(`update dead_letters set failed_at = now() - make_interval(days => $1)`, [n]);
        await node.owner.purge();
        await node.follower.purge();
        return {
          greetings: await probe.count('owner', `outbox where topic = 'users.greeted'`),
          inbox: await probe.count('follower', 'inbox'),
          dead: await probe.count('follower', 'dead_letters'),
        };
      };
      expect(await days(6)).toEqual({ greetings: 1, inbox: 2, dead: 1 });
      expect(await days(8)).toEqual({ greetings: 0, inbox: 2, dead: 1 });
      expect(await days(31)).toEqual({ greetings: 0, inbox: 0, dead: 1 });
      expect(await days(91)).toEqual({ greetings: 0, inbox: 0, dead: 0 });
    });
  });

  describe('status', () => {
    it('says what waits, what failed and who follows', async () => {
      const probe = await Probe.make(carrierModule);
      const node = await probe.start();
      await fill(probe, node);
      const [users, notifications] = await eventLogStatus(node.broker);
      expect(users).toMatchObject({ domain: 'users', isLeader: true, unpublished: 0, refused: 0, topics: [] });
      expect(notifications).toMatchObject({
        domain: 'notifications',
        isConsuming: true,
        waitsFor: [],
        deadLetters: 0,
        parked: 0,
        counters: { dead: 0 },
      });
      expect(notifications?.topics.toSorted()).toEqual(['users.create', 'users.greeted', 'users.remove', 'users.update']);
      expect(notifications?.counters.handled).toBe(9);
      expect(users).toMatchObject({ lease: { node: node.broker.nodeID }, lag: [] });
    });

    it('says how far behind a group is, in which part of the log', async () => {
      const probe = await Probe.make(carrierModule);
      const gate = Promise.withResolvers<void>();
      const node = await probe.start({ behaviour: ({ data }) => (data.note === 'wait' ? gate.promise : undefined) });
      const { id } = await savePerson(node.owner.database);
      const statusOf = async () => (await eventLogStatus(node.broker, 'notifications'))[0]!;
      const behind = async () => (await statusOf()).lag!.reduce((sum, { lag }) => sum + lag, 0);
      await until(async () => (await probe.effects()).length === 1 && (await behind()) === 0);
      for (const nth of [1, 2, 3]) await greet(node.owner.database, id, nth, 'wait');
      await until(async () => (await behind()) === 3);
      const waiting = (await statusOf()).lag!.filter(({ lag }) => lag > 0);
      expect(waiting).toMatchObject([{ place: expect.stringContaining('users.greeted'), lag: 3 }]);
      expect(waiting[0]!.end).toBeGreaterThan(waiting[0]!.position);
      gate.resolve();
      await until(async () => (await behind()) === 0);
    });
  });
}

function fail(): never {
  throw new Error('it tastes bad');
}
