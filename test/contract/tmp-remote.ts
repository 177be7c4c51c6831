import type { ServiceBroker } from 'moleculer';
import pg from 'pg';
import { configOf } from '../../mixins/config';
import type { CarriedEvent, Carrier, Group, Subscription } from '../../mixins/events/carrier';
import { sendNext } from '../../mixins/events/sending';
import type { Outbox } from '../../mixins/events/outbox';

/** A broker in a schema of the owner's database; offsets committed after delivery, outside of the group's database. */
class Remote implements Carrier {
  readonly name = 'remote';
  readonly isFencedByDatabase = false;
  pool: pg.Pool;
  constructor(broker: ServiceBroker) {
    this.pool = new pg.Pool({ connectionString: configOf(broker).databaseUrls.users!, max: 4 });
    this.pool.on('error', () => undefined);
  }
  async start() {
    await this.pool.query(`select pg_advisory_lock(1); create schema if not exists remote;
      create table if not exists remote.log (off bigint generated always as identity, topic text, key text, value text);
      create table if not exists remote.offsets (grp text, topic text, off bigint, primary key (grp, topic)); select pg_advisory_unlock(1)`);
  }
  async stop() { await this.pool.end(); }
  async attach() {}
  async detach() {}
  publish = (outbox: Outbox) => sendNext(outbox, async rows => {
    await this.pool.query('insert into remote.log (topic, key, value) select * from unnest($1::text[], $2::text[], $3::text[])', [rows.map(r => r.topic), rows.map(r => r.key), rows.map(r => r.envelope)]);
  }, console);
  subscribe(group: Group): Subscription {
    let stopped = false;
    const consume = async (topic: string) => {
      while (!stopped) {
        const client = new pg.Client({ connectionString: this.pool.options.connectionString });
        client.on('error', () => undefined);
        try {
          await client.connect();
          while (!stopped && !(await client.query('select pg_try_advisory_lock(hashtext($1)) as ok', [group.name + topic])).rows[0].ok) await new Promise(r => setTimeout(r, 20));
          let off = (await client.query('select off from remote.offsets where grp = $1 and topic = $2', [group.name, topic])).rows[0]?.off;
          const first = off === undefined ? Number((await client.query('select coalesce(max(off), 0) as m from remote.log')).rows[0].m) : 0;
          off = Number(off ?? 0);
          while (!stopped) {
            const { rows } = await client.query('select * from remote.log where topic = $1 and off > $2 order by off limit 500', [topic, off]);
            if (rows.length === 0) { await new Promise(r => setTimeout(r, 10)); continue; }
            await group.deliver({ events: rows.map(r => ({ topic, key: r.key, value: r.value, place: `${topic}/${r.off}`, isFirstCatchUp: Number(r.off) <= first })) });
            off = Number(rows.at(-1).off);
            await client.query('insert into remote.offsets values ($1, $2, $3) on conflict (grp, topic) do update set off = excluded.off', [group.name, topic, off]);
          }
        } catch (e) { if (!stopped) await new Promise(r => setTimeout(r, 50)); }
        await client.end().catch(() => undefined);
      }
    };
    const all = group.topics.map(consume);
    return { stop: async () => { stopped = true; await Promise.all(all); } };
  }
  async replay(topics: readonly string[], deliver: (events: readonly CarriedEvent[]) => Promise<void>) {
    const { rows } = await this.pool.query('select * from remote.log where topic = any($1) order by off', [topics]);
    await deliver(rows.map(r => ({ topic: r.topic, key: r.key, value: r.value, place: `x/${r.off}`, isFirstCatchUp: false })));
  }
}
export const makeCarrier = (broker: ServiceBroker) => new Remote(broker);
