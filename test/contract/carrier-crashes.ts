import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../helpers/until';
import type { ChildOptions } from './carrier-child';
import { greet, savePerson } from './carrier-node';
import { Probe } from './carrier-probe';

/** A lease runs out after 5 s; a relay looks each second. */
const TAKE_OVER = 15_000;

const children = new Set<ChildProcess>();

afterEach(async () => {
  for (const child of children) await kill(child);
});

async function kill(child: ChildProcess): Promise<void> {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Processes that end by kill -9, and relays that follow each other. */
export function describeCrashes(carrierModule?: string): void {
  const startChild = (probe: Probe, dies: ChildOptions['dies'], only?: 'owner') => {
    const child = spawn(process.execPath, ['--import', 'tsx', resolve('test/contract/carrier-child.ts')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.add(child);
    const options: ChildOptions = { node: { urls: probe.urls, carrierModule, run: probe.run, only }, dies };
    child.stdin.end(JSON.stringify(options));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text;
    });
    const said = (line: string | number) =>
      until(() => output.includes(`${line}\n`), { timeout: 20_000, what: `The line ${line}` });
    return { child, said };
  };

  describe('crashes', () => {
    it.each([
      ['between a commit and its delivery', 'after-commit'],
      ['while a reaction is at work', 'in-reaction'],
      ['right after the commit of a reaction', 'after-reaction'],
    ] as const)('loses and doubles nothing when the process dies %s', async (_, dies) => {
      const probe = await Probe.make(carrierModule);
      const { child } = startChild(probe, dies);
      await until(() => child.signalCode === 'SIGKILL', { timeout: 20_000, what: 'The death' });
      const [{ id }] = (await probe.owner.query<{ id: string }>('select id from people')).rows as [{ id: string }];
      await probe.expireLease();
      const before = await probe.count('follower', 'effects');
      expect(before).toBe(dies === 'after-reaction' ? 1 : 0);

      const { owner } = await probe.start();
      await greet(owner.database, id);
      await until(async () => (await probe.effects('users.greeted')).length === 1, { timeout: TAKE_OVER });
      await until(async () => (await probe.effects('users.create')).length === 1);
      expect(await probe.effects()).toHaveLength(2);
      expect(await probe.replicas()).toMatchObject([{ id }]);
    });

    it('loses and doubles nothing of a busy process that is killed again and again', async () => {
      const probe = await Probe.make(carrierModule);
      for (const done of [5, 20, 60]) {
        const { child, said } = startChild(probe, 'busy');
        await said(done);
        await kill(child);
        await probe.expireLease();
      }
      await probe.start();
      const recorded = await probe.count('owner', 'outbox');
      await until(async () => (await probe.count('follower', 'effects')) >= recorded, { timeout: TAKE_OVER });
      expect(await probe.count('follower', 'effects')).toBe(recorded);
      const once = 'select count(*)::int as count from (select from effects group by event_id, topic having count(*) > 1)';
      expect((await probe.follower.query(once)).rows).toEqual([{ count: 0 }]);
      const states = await probe.owner.query('select id, version from people order by id');
      expect((await probe.replicas()).map(({ id, version }) => ({ id, version }))).toEqual(states.rows);
    });
  });

  describe('the lease', () => {
    it('has one relay at work, and another goes on at once after a graceful stop', async () => {
      const probe = await Probe.make(carrierModule);
      const first = await probe.start();
      const second = await probe.start();
      const { id } = await savePerson(first.owner.database);
      await savePerson(second.owner.database, { id });
      await until(async () => (await probe.effects()).length === 2);
      expect([first.owner.relay.isLeader, second.owner.relay.isLeader]).toEqual([true, false]);
      await probe.stop(first);
      await until(() => second.owner.relay.isLeader, { timeout: 1_000 });
      await greet(second.owner.database, id);
      await until(async () => (await probe.effects()).length === 3, { timeout: 1_000 });
    });

    it('goes to another relay within its time when its holder dies', async () => {
      const probe = await Probe.make(carrierModule);
      const { child, said } = startChild(probe, 'busy', 'owner');
      await said(1);
      const { owner } = await probe.start();
      const { id } = await savePerson(owner.database);
      await until(async () => (await probe.effects()).some(({ key }) => key === id));
      expect(owner.relay.isLeader).toBe(false);
      await kill(child);
      await greet(owner.database, id);
      await until(() => owner.relay.isLeader, { timeout: TAKE_OVER });
      const recorded = await probe.count('owner', 'outbox');
      await until(async () => (await probe.count('follower', 'effects')) === recorded, { timeout: TAKE_OVER });
    });
  });
}
