import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { ConfigResourceTypes } from 'kafkajs';
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import type { CarriedEvent } from '../../mixins/events/carrier';
import { recordAll, recordTombstone } from '../../mixins/events/record';
import { companyId, greet, greeted, personCreated, savePerson, somePerson } from '../contract/carrier-node';
import { Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';
import { describeWithKafka } from '../kafka/describe';
import { asAdmin, plainClient } from './kafka-admin';
import { makeCarrier } from './kafka-carrier';

const carrierModule = resolve('test/mesh/kafka-carrier.ts');
const TOPICS = ['users.create', 'users.update', 'users.remove', 'users.greeted'];

describe('a process without Kafka', () => {
  it('does not load kafkajs', () => {
    const script = `require('./mixins/events/carriers');
      process.stdout.write(String(Object.keys(require.cache).filter(file => file.includes('kafkajs')).length))`;
    expect(execFileSync(process.execPath, ['--import', 'tsx', '-e', script], { encoding: 'utf8' })).toBe('0');
  });
});

describeWithKafka('topics', () => {
  it('are made at the start with six partitions, state topics compacted and the others kept for a week', async () => {
    const probe = await Probe.make(carrierModule);
    await probe.start({ only: 'owner' });
    const names = TOPICS.map(topic => `${probe.run}.${topic}`);
    await until(async () => {
      const known = await asAdmin(admin => admin.listTopics());
      return names.every(name => known.includes(name));
    });
    await asAdmin(async admin => {
      const { topics } = await admin.fetchTopicMetadata({ topics: names });
      expect(topics.map(({ partitions }) => partitions.length)).toEqual([6, 6, 6, 6]);
      const { resources } = await admin.describeConfigs({
        resources: names.map(name => ({ type: ConfigResourceTypes.TOPIC, name })),
        includeSynonyms: false,
      });
      const settings = resources.map(({ configEntries }) =>
        ['cleanup.policy', 'retention.ms', 'min.insync.replicas', 'unclean.leader.election.enable'].map(
          name => configEntries.find(({ configName }) => configName === name)?.configValue,
        ),
      );
      const [state, fact] = [
        ['compact', expect.any(String), '1', 'false'],
        ['delete', '604800000', '1', 'false'],
      ];
      expect(settings).toEqual([state, state, fact, fact]);
    });
  });

  it.each([
    ['another number of partitions', { numPartitions: 3 }, /users\.create has 3 partition\(s\) instead of 6/],
    ['another policy', { numPartitions: 6 }, /users\.create has cleanup\.policy=delete instead of compact/],
  ])('are refused by name when they have %s, and nothing is published', async (_, config, message) => {
    const probe = await Probe.make(carrierModule);
    await asAdmin(admin =>
      admin.createTopics({ topics: [{ topic: `${probe.run}.users.create`, ...config }], waitForLeaders: true }),
    );
    const errors: Error[] = [];
    const { owner } = await probe.start({
      makeCarrier: (broker, run) => makeCarrier(broker, run, { onFatal: error => errors.push(error) }),
    });
    await savePerson(owner.database);
    const [error] = await until(() => errors.length > 0 && errors);
    expect(error?.message).toMatch(message);
    expect(error?.message).toContain(probe.run);
    expect(await probe.count('owner', 'outbox where published_at is null')).toBe(1);
  });
});

describeWithKafka('what is sent', () => {
  it('is CloudEvents 1.0 in structured JSON under the key of the aggregate; a tombstone has no value', async () => {
    const probe = await Probe.make(carrierModule);
    const { owner } = await probe.start({ only: 'owner' });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const { id } = await savePerson(owner.database, {}, { traceparent });
    await owner.database.inTransaction(undefined, tx => recordTombstone(tx, personCreated, { key: id, companyId }));
    await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0);
    const messages: { key?: string; value?: string; type?: string }[] = [];
    const consumer = plainClient().consumer({ groupId: `${probe.run}-look`, maxWaitTimeInMs: 100 });
    await consumer.subscribe({ topic: `${probe.run}.users.create`, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message: { key, value, headers } }) => {
        messages.push({ key: key?.toString(), value: value?.toString(), type: headers?.['content-type']?.toString() });
      },
    });
    await until(() => messages.length === 2, { timeout: 10_000 });
    await consumer.disconnect();
    const [event, tombstone] = messages;
    expect(event).toMatchObject({ key: id, type: 'application/cloudevents+json' });
    expect(JSON.parse(event?.value ?? '')).toMatchObject({
      specversion: '1.0',
      type: 'users.create',
      source: '/users',
      subject: id,
      companyid: companyId,
      version: 1,
      traceparent,
      datacontenttype: 'application/json',
      data: { id },
    });
    expect(tombstone).toEqual({ key: id, value: undefined, type: undefined });
  });

  it('is halved until it fits, and a single event that never fits does not hold the others up', async () => {
    const probe = await Probe.make(carrierModule);
    // Set before anybody sends: a change reaches the broker some time after it was acknowledged.
    const configEntries = [{ name: 'max.message.bytes', value: '20000' }];
    const topic = { topic: `${probe.run}.users.greeted`, numPartitions: 6, configEntries };
    await asAdmin(admin => admin.createTopics({ topics: [topic], waitForLeaders: true }));
    const { owner } = await probe.start();
    const { id: userId } = await savePerson(owner.database);
    await until(async () => (await probe.effects()).length === 1);
    const note = (nth: number) => 'x'.repeat(nth === 50 ? 30_000 : 500);
    const events = Array.from({ length: 100 }, (_, n) => ({ userId, companyId, nth: n + 1, note: note(n + 1) }));
    await owner.database.inTransaction(undefined, tx => recordAll(tx, greeted, events));
    await until(async () => (await probe.effects('users.greeted')).length >= 99, { timeout: 10_000 });
    const expected = events.map(({ nth }) => nth).filter(nth => nth !== 50);
    expect((await probe.effects('users.greeted')).map(({ version }) => version)).toEqual(expected);
    const { rows } = await probe.owner.query('select version, error from outbox_dead');
    expect(rows).toEqual([{ version: 50, error: expect.stringMatching(/larger than the max message size/) }]);
  });
});

describeWithKafka('a group', () => {
  it('has an offset for every partition that it follows, also for those that hold nothing', async () => {
    const probe = await Probe.make(carrierModule);
    await probe.start();
    const offsets = await until(() =>
      asAdmin(async admin => {
        const ofTopics = await admin.fetchOffsets({
          groupId: `${probe.run}.notifications`,
          topics: TOPICS.map(t => `${probe.run}.${t}`),
        });
        const all = ofTopics.flatMap(({ partitions }) => partitions.map(({ offset }) => offset));
        return all.every(offset => Number(offset) >= 0) && all;
      }),
    );
    expect(offsets).toEqual(Array(24).fill('0'));
  });

  it('shares its partitions among its instances, and one goes on alone when the other leaves', async () => {
    const probe = await Probe.make(carrierModule);
    const handled = [0, 0];
    const start = (which: 0 | 1) => probe.start({ behaviour: () => void handled[which]!++ });
    const [first, second] = [await start(0), await start(1)];
    await until(async () => (await membersOf(`${probe.run}.notifications`)) === 2);
    const save = (count: number) =>
      first.owner.database.inTransaction(undefined, tx =>
        recordAll(
          tx,
          personCreated,
          Array.from({ length: count }, () => somePerson()),
        ),
      );
    await save(300);
    await until(async () => (await probe.count('follower', 'effects')) >= 300, { timeout: 10_000 });
    expect(handled.every(count => count > 50)).toBe(true);
    expect(handled[0]! + handled[1]!).toBe(300);
    await probe.stop(second);
    await save(300);
    await until(async () => (await probe.count('follower', 'effects')) >= 600, { timeout: 10_000 });
    expect(await probe.count('follower', 'effects')).toBe(600);
  });

  it('does not meet a poison event again after a restart', async () => {
    const probe = await Probe.make(carrierModule);
    const tries: string[] = [];
    const behaviour = ({ id, data }: { id: string; data: { note?: string } }) => {
      if (data.note !== 'poison') return;
      tries.push(id);
      throw new Error('it tastes bad');
    };
    const first = await probe.start({ behaviour });
    const { id } = await savePerson(first.owner.database);
    await greet(first.owner.database, id, 1, 'poison');
    await greet(first.owner.database, id, 2);
    await until(async () => (await probe.effects('users.greeted')).length === 1);
    await probe.stop(first);
    const before = tries.length;
    const second = await probe.start({ behaviour });
    await greet(second.owner.database, id, 3);
    await until(async () => (await probe.effects('users.greeted')).length === 2);
    expect(tries).toHaveLength(before);
    expect(await probe.count('follower', 'dead_letters')).toBe(1);
  });

  it('that has stopped for good ends its process', async () => {
    const probe = await Probe.make(carrierModule);
    const { broker, owner } = await probe.start({ only: 'owner' });
    await savePerson(owner.database);
    const errors: Error[] = [];
    const carrier = makeCarrier(broker, probe.run, { onFatal: error => errors.push(error) });
    const deliver = async ({ events }: { events: readonly CarriedEvent[] }) => {
      // Nothing that trying again would mend.
      throw new TypeError(`${events.length} is not a function`);
    };
    const subscription = carrier.subscribe({ name: uuidv7(), topics: ['users.create'], connections: owner.connections, deliver });
    await until(() => errors.length > 0, { timeout: 10_000 });
    expect(errors[0]?.message).toContain('1 is not a function');
    await subscription.stop();
  });
});

async function membersOf(groupId: string): Promise<number> {
  const { groups } = await asAdmin(admin => admin.describeGroups([groupId]));
  const [group] = groups;
  return group?.state === 'Stable' ? group.members.length : 0;
}
