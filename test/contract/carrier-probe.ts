import { Loggers } from 'moleculer';
import pg from 'pg';
import { afterEach } from 'vitest';
import type { PersonState } from '../../mixins/replica/tables';
import { freshDatabase } from '../helpers/database';
import { Node, type NodeOptions, type Urls } from './carrier-node';

interface Effect {
  event_id: string;
  topic: string;
  key: string;
  version: number;
  note: string;
}

const nodes = new Set<Node>();
const pools = new Set<pg.Pool>();

afterEach(async () => {
  for (const node of nodes) await node.stop();
  for (const pool of pools) await pool.end();
  nodes.clear();
  pools.clear();
});

/** Keeps what is logged. */
export class Lines extends Loggers.Base<Loggers.Base.LoggerOptions> {
  readonly all: string[] = [];

  override getLogHandler(): Loggers.Base.LogHandler {
    return (level, args) => void this.all.push(`${level} ${args.map(String).join(' ')}`);
  }
}

/** Databases of one test, nodes on them, and a look at what they hold, by connections of its own. */
export class Probe {
  readonly owner: pg.Pool;
  readonly follower: pg.Pool;

  private constructor(
    readonly urls: Urls,
    private readonly carrierModule: string | undefined,
    readonly run: string,
  ) {
    this.owner = poolOf(urls.owner);
    this.follower = poolOf(urls.follower);
  }

  static async make(carrierModule?: string): Promise<Probe> {
    const urls = { owner: await freshDatabase('owner'), follower: await freshDatabase('follower') };
    return new Probe(urls, carrierModule, new URL(urls.owner).pathname.slice(1));
  }

  /** The same, with an empty database for the follower. */
  async withEmptyFollower(): Promise<Probe> {
    return new Probe({ ...this.urls, follower: await freshDatabase('follower') }, this.carrierModule, this.run);
  }

  async start(options: Partial<NodeOptions> = {}): Promise<Node> {
    const node = await Node.start({ urls: this.urls, carrierModule: this.carrierModule, run: this.run, ...options });
    nodes.add(node);
    return node;
  }

  async stop(node: Node): Promise<void> {
    nodes.delete(node);
    await node.stop();
  }

  /** What reactions left behind, in the order in which they ran. */
  async effects(topic?: string): Promise<Effect[]> {
    const { rows } = await this.follower.query<Effect>(
      'select event_id, topic, key, version, note from effects where $1::text is null or topic = $1 order by nth',
      [topic],
    );
    return rows;
  }

  async replicas(): Promise<(Partial<PersonState> & { removed: boolean })[]> {
    const { rows } = await this.follower.query(
      `select id, first_name as "firstName", email, team_ids as "teamIds", starts_on::text as "startsOn", version,
         removed_at is not null as removed
       from user_infos order by id`,
    );
    return rows;
  }

  async count(database: 'owner' | 'follower', from: string): Promise<number> {
    const { rows } = await this[database].query<{ count: number }>(`select count(*)::int as count from ${from}`);
    return rows[0]!.count;
  }

  /** Records the oldest event once more, about somebody else, in a transaction that is not committed before it is told. */
  async recordSlowly(key: string): Promise<{ commit(): Promise<void> }> {
    const client = await this.owner.connect();
    await client.query('begin');
    await client.query(
      `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
       select gen_random_uuid(), topic, $1::text, company_id, version, compacted,
         (envelope::jsonb || jsonb_build_object('id', gen_random_uuid(), 'subject', $1::text))::text
       from outbox order by seq limit 1`,
      [key],
    );
    return {
      commit: async () => {
        await client.query('commit');
        client.release();
      },
    };
  }

  /** Lets the time pass that a dead relay's lease lasts. */
  async expireLease(): Promise<void> {
    await this.owner.query(`update relay_lease set expires_at = '-infinity'`);
  }
}

function poolOf(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 2 });
  pool.on('error', () => undefined);
  pools.add(pool);
  return pool;
}
