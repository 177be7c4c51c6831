import pg from 'pg';
import type { Sequelize } from 'sequelize';
import { Umzug } from 'umzug';

/** One step of a schema: all of it or nothing, together with the note that it ran. */
export interface Migration {
  /** `0001-what`, unique in its database; steps run in the order in which they are listed. */
  readonly name: string;
  readonly sql: string;
}

/** Declares a migration. Expand first, contract a release later: the version before must be able to run beside it. */
export function migration(name: string, sql: string): Migration {
  return { name, sql };
}

// Any number will do, as long as every instance takes the same one. Advisory locks are per database.
const MIGRATION_LOCK = 4_120_917;

/**
 * Brings a database to the newest schema. Instances that start together take turns, by an advisory lock on a
 * connection of its own: one that is borrowed from a pool can be closed, and the lock with it, while the work goes on.
 * @returns names of the migrations that ran
 * @throws when a migration fails; nothing of it is left behind
 */
export async function migrate(url: string, sequelize: Sequelize, migrations: readonly Migration[]): Promise<string[]> {
  const lock = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3_000 });
  lock.on('error', () => undefined); // seen by the query that follows
  await lock.connect();
  try {
    await lock.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await lock.query(
      'create table if not exists migrations (name text primary key, ran_at timestamptz(3) not null default now())',
    );
    const ran = await umzug(sequelize, migrations).up();
    return ran.map(({ name }) => name);
  } finally {
    await lock.end();
  }
}

function umzug(sequelize: Sequelize, migrations: readonly Migration[]) {
  return new Umzug({
    migrations: migrations.map(({ name, sql }) => ({
      name,
      up: () =>
        sequelize.transaction(async transaction => {
          // Building an index or a column on a big table takes longer than any request may.
          await sequelize.query("set local statement_timeout = '30min'", { transaction });
          await sequelize.query(sql, { transaction });
          await sequelize.query('insert into migrations (name) values ($1)', { bind: [name], transaction });
        }),
    })),
    // The note is written by `up`, in the transaction of the migration itself.
    storage: {
      executed: async () => {
        const [rows] = await sequelize.query('select name from migrations order by name');
        return (rows as { name: string }[]).map(row => row.name);
      },
      logMigration: async () => undefined,
      unlogMigration: async () => undefined,
    },
    logger: undefined,
  });
}
