import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { NodeProcess } from '../../scripts/mesh/node-process';
import { readMails } from '../helpers/mails';
import { buildApp } from '../helpers/processes';
import { until } from '../helpers/until';
import { describeWithOwnKafka } from '../kafka/describe';
import { type ChaosMesh, startChaosMesh } from './chaos/chaos-mesh';
import { INVITE_EVERY, Load } from './chaos/load';
import { RECOVERY, SCALE } from './chaos/scale';

const TIMEOUT = 15 * 60_000;

describeWithOwnKafka('a mesh whose parts die', kafka => {
  let mesh: ChaosMesh;
  let load: Load;
  /** Where requests go to: nodes of users, or what stands in front of them. */
  let reached: readonly Pick<NodeProcess, 'url'>[];

  beforeAll(async () => {
    buildApp();
    mesh = await startChaosMesh(kafka().brokers);
    reached = mesh.nodesOf('users');
    load = new Load(() => reached.map(({ url }) => url));
    await load.begin();
    await mesh.stores.assertWhole();
  }, TIMEOUT);
  afterAll(() => mesh?.stop());

  /** Pauses that are not the same each time, so that a kill meets whatever is under way. */
  const soon = () => delay(200 + Math.random() * 800);

  it('loses and doubles nothing when nodes that consume are killed, time and again', { timeout: TIMEOUT }, async () => {
    const victims = [...mesh.nodesOf('presence'), ...mesh.nodesOf('notifications'), ...mesh.nodesOf('tasks')];
    const seen = await load.during(async () => {
      for (let nth = 0; nth < SCALE.kills; nth++) {
        const victim = victims[nth % victims.length]!;
        await soon();
        await victim.kill();
        await soon();
        victim.start();
      }
    });
    expect(seen).toEqual({ accepted: SCALE.changes, refused: [] });
    await mesh.stores.assertWhole();
  });

  it('loses and doubles nothing when users dies between commit and publishing', { timeout: TIMEOUT }, async () => {
    for (let nth = 0; nth < SCALE.kills; nth++) {
      const seen = await load.during(async () => {
        await soon();
        const held = await holdLease(mesh);
        await until(() => mesh.stores.count('users', 'outbox where published_at is null'), { what: 'Something unpublished' });
        await Promise.all(mesh.nodesOf('users').map(node => node.kill()));
        expect(await mesh.stores.count('users', 'outbox where published_at is null')).toBeGreaterThan(0);
        await held.release();
        for (const node of mesh.nodesOf('users')) node.start();
      }, SCALE.changes / SCALE.kills);
      expect(seen.accepted).toBe(SCALE.changes / SCALE.kills);
    }
    await mesh.stores.assertWhole();
  });

  it.each(SCALE.brokerOutages)(
    'answers while Kafka is down for %i ms, and delivers afterwards',
    { timeout: TIMEOUT },
    async outage => {
      const seen = await load.during(async () => {
        await soon();
        await kafka().kill();
        await delay(outage);
        await kafka().restart();
      });
      expect(seen).toEqual({ accepted: SCALE.changes, refused: [] });
      await mesh.stores.assertWhole();
    },
  );

  it('goes on by itself when the PostgreSQL of a service was gone', { timeout: TIMEOUT }, async () => {
    const seen = await load.during(async () => {
      await soon();
      await mesh.postgres.kill();
      await delay(SCALE.outage);
      await mesh.postgres.restart();
    });
    expect(seen).toEqual({ accepted: SCALE.changes, refused: [] });
    await mesh.stores.assertWhole();
  });

  it('goes on with the other node when one of two is killed', { timeout: TIMEOUT }, async () => {
    const [users] = mesh.nodesOf('users');
    const [presence] = mesh.nodesOf('presence');
    const seen = await load.during(async () => {
      await soon();
      await Promise.all([users!.kill(), presence!.kill()]);
    });
    expect(seen.accepted).toBe(SCALE.changes);
    await mesh.stores.assertWhole();
    users!.start();
    presence!.start();
    await mesh.ready();
  });

  it('hands the relay over while its holder is frozen, and is not confused when that wakes', { timeout: TIMEOUT }, async () => {
    const [holder, other] = mesh.nodesOf('users') as [NodeProcess, NodeProcess];
    await onlyNodeOfUsers(holder, other);
    const epoch = await epochOf(mesh);
    reached = [other];
    const seen = await load.during(async () => {
      holder.signal('SIGSTOP');
      await until(async () => (await epochOf(mesh)) > epoch, { timeout: RECOVERY, what: 'Another holder' });
      await delay(SCALE.frozen);
      holder.signal('SIGCONT');
    });
    expect(seen).toEqual({ accepted: SCALE.changes, refused: [] });
    await mesh.stores.assertWhole();
    reached = mesh.nodesOf('users');
  });

  it('fails no request while every node is restarted, one after the other', { timeout: TIMEOUT }, async () => {
    reached = [{ url: mesh.front }];
    const seen = await load.during(async () => {
      for (const node of mesh.nodes) {
        await node.stop();
        node.start();
        await node.ready();
      }
    });
    // A connection that broke after the request was sent is 502: nobody may send a POST again for its client.
    expect(seen.refused.filter(how => how !== '502')).toEqual([]);
    expect(seen.accepted).toBe(SCALE.changes);
    await mesh.stores.assertWhole();
    reached = mesh.nodesOf('users');
  });

  it('puts a poison event aside, and delivers the good ones around it', { timeout: TIMEOUT }, async () => {
    const seen = await load.during(async () => {
      await soon();
      await mesh.stores.rows(
        'users',
        `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
         select gen_random_uuid(), topic, key, company_id, version + 1, compacted, '{"id":"poison","type":"users.update","data":7}'
         from outbox where topic = 'users.update' order by seq desc limit 1`,
      );
    });
    expect(seen).toEqual({ accepted: SCALE.changes, refused: [] });
    await mesh.stores.assertWhole();
    for (const domain of ['presence', 'tasks', 'leave-requests', 'notifications'] as const) {
      await until(async () => (await mesh.stores.count(domain, `dead_letters where event_id = 'poison'`)) === 1, {
        timeout: RECOVERY,
        what: `The dead letter of ${domain}`,
      });
      expect(await mesh.stores.count(domain, 'dead_letters')).toBe(1);
    }
  });

  it('fills a database that was made anew, while the others go on, and tells nobody anything twice', {
    timeout: TIMEOUT,
  }, async () => {
    const mails = await readMails(mesh.dataDir);
    await Promise.all(mesh.nodesOf('presence').map(node => node.stop()));
    await mesh.postgres.empty();
    for (const node of mesh.nodesOf('presence')) node.start();
    await mesh.ready();
    expect(await mesh.stores.count('presence', 'user_infos')).toBe(0);
    const seen = await load.during(async () => {
      expect(await mesh.operate('events replay presence')).toMatch(/^\d+ events read into the copies of presence/);
    });
    expect(seen).toEqual({ accepted: SCALE.changes, refused: [] });
    await mesh.stores.assertWhole();
    expect((await readMails(mesh.dataDir)).length).toBe(mails.length + SCALE.changes / INVITE_EVERY);
    expect(await mesh.operate('events verify presence')).toMatch(/people .* yes/);
  });
});

/** Sees to it that the relay of users is at work in the first of two nodes, and that both run. */
async function onlyNodeOfUsers(holder: NodeProcess, other: NodeProcess): Promise<void> {
  await other.stop();
  other.start();
  await Promise.all([holder.ready(), other.ready()]);
}

async function epochOf({ stores }: ChaosMesh): Promise<number> {
  const [row] = await stores.rows<{ epoch: string }>('users', 'select epoch from relay_lease');
  return Number(row?.epoch);
}

/** Keeps the relay from marking anything: it waits for the row of its lease. */
async function holdLease({ urls }: ChaosMesh): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client({ connectionString: urls.users });
  await client.connect();
  await client.query('begin');
  await client.query('select from relay_lease for update');
  return {
    async release() {
      await client.query('rollback');
      await client.end();
    },
  };
}
