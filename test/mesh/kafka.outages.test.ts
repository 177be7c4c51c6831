import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { greet, savePerson } from '../contract/carrier-node';
import { Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';
import { describeWithOwnKafka } from '../kafka/describe';

const carrierModule = resolve('test/mesh/kafka-carrier.ts');
/** The relay and the consumer look again after 5 s at the latest. */
const RECOVERY = 20_000;

const unpublished = (probe: Probe) => probe.count('owner', 'outbox where published_at is null');
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

describeWithOwnKafka('a broker that is away', kafka => {
  it('does not keep a node from starting and recording; what was recorded arrives when it is there', async () => {
    await kafka().kill();
    const probe = await Probe.make(carrierModule);
    const { owner } = await probe.start();
    const { id } = await savePerson(owner.database);
    for (const nth of [1, 2, 3]) await greet(owner.database, id, nth);
    expect(await unpublished(probe)).toBe(4);
    await kafka().restart();
    await until(async () => (await probe.count('follower', 'effects')) === 4, { timeout: RECOVERY });
    expect((await probe.effects('users.greeted')).map(({ version }) => version)).toEqual([1, 2, 3]);
    expect(await unpublished(probe)).toBe(0);
  });

  it('lets a node stop meanwhile, and soon', async () => {
    const probe = await Probe.make(carrierModule);
    const node = await probe.start();
    await savePerson(node.owner.database);
    await until(async () => (await probe.effects()).length === 1);
    await kafka().kill();
    await savePerson(node.owner.database);
    // Long enough for both ends to have noticed, and to be trying again and again.
    await delay(3_000);
    const before = performance.now();
    await probe.stop(node);
    // Less than the process is given before it is ended as it is.
    expect(performance.now() - before).toBeLessThan(4_000);
    await kafka().restart();
    await probe.start();
    await until(async () => (await probe.effects()).length === 2, { timeout: RECOVERY });
  });

  it('is waited for while it is down for 20 s, and everything arrives once and in order', { timeout: 90_000 }, async () => {
    const probe = await Probe.make(carrierModule);
    const { owner } = await probe.start();
    const { id } = await savePerson(owner.database);
    await greet(owner.database, id, 1);
    await until(async () => (await probe.effects()).length === 2);
    await kafka().kill();
    for (const nth of upTo(100).slice(1)) await greet(owner.database, id, nth);
    await delay(20_000);
    expect(await unpublished(probe)).toBeGreaterThan(0);
    await kafka().restart();
    await until(async () => (await probe.effects('users.greeted')).length >= 100, { timeout: RECOVERY });
    expect((await probe.effects('users.greeted')).map(({ version }) => version)).toEqual(upTo(100));
    // And without anybody's help it goes on as before.
    await greet(owner.database, id, 101);
    await until(async () => (await probe.effects('users.greeted')).length === 101);
  });

  it('may be killed and started again while events flow', { timeout: 90_000 }, async () => {
    const probe = await Probe.make(carrierModule);
    const { owner, follower } = await probe.start();
    const people = await Promise.all([1, 2, 3, 4].map(() => savePerson(owner.database)));
    let isDone = false;
    let sent = 0;
    const writing = (async () => {
      while (!isDone) {
        sent++;
        for (const { id } of people) {
          await greet(owner.database, id, sent);
          await savePerson(owner.database, { id });
        }
      }
    })();
    for (const times of [1, 2, 3]) {
      await until(() => sent > times * 20, { timeout: RECOVERY });
      await kafka().kill();
      await kafka().restart();
    }
    const atLastRestart = sent;
    await until(() => sent > atLastRestart + 20, { timeout: RECOVERY });
    isDone = true;
    await writing;
    await until(async () => (await probe.effects('users.greeted')).length >= sent * 4, { timeout: RECOVERY });
    const effects = await until(async () => {
      const all = await probe.effects();
      return all.length >= 4 + 8 * sent && all;
    });
    expect(effects).toHaveLength(4 + 8 * sent);
    for (const { id } of people) {
      const versions = effects.filter(({ topic, key }) => topic === 'users.greeted' && key === id).map(({ version }) => version);
      expect(versions).toEqual(upTo(sent));
    }
    expect((await probe.replicas()).map(({ version }) => version)).toEqual(people.map(() => sent + 1));
    expect(follower.counters.dead).toBe(0);
  });
});
