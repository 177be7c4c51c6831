import pg from 'pg';
import { Sequelize } from 'sequelize';
import type { StatementText } from './statement';
import { columnTypes } from './types';

const CONNECT_TIMEOUT = 3_000;
const STATEMENT_TIMEOUT = 10_000;
const IDLE_TIMEOUT = 30_000;
/** A server that is gone or frozen must not hold anybody up for longer. */
const TIMEOUTS = {
  connectionTimeoutMillis: CONNECT_TIMEOUT,
  statement_timeout: STATEMENT_TIMEOUT,
  // Longer than the server's own limit: it counts only when the server is frozen and says nothing at all.
  query_timeout: STATEMENT_TIMEOUT + 1_000,
  idle_in_transaction_session_timeout: 30_000,
};

/** How many connections of a pool do what. */
export interface PoolUse {
  pool: string;
  idle: number;
  busy: number;
  /** Work that waits for one. */
  waiting: number;
}

interface PoolsOptions {
  url: string;
  /** Most connections of each of the two. */
  size: number;
  /** What the connections are called in `pg_stat_activity`. */
  names: { statements: string; transactions: string };
  /** An idle connection was lost. */
  onLost: (error: Error) => void;
}

/** Connections to one database: a pool of `pg` for statements, and Sequelize's for transactions. */
export class Pools {
  readonly sequelize: Sequelize;
  readonly #pool: pg.Pool;

  constructor({ url, size, names, onLost }: PoolsOptions) {
    this.#pool = new pg.Pool({
      connectionString: url,
      max: size,
      idleTimeoutMillis: IDLE_TIMEOUT,
      options: '-c TimeZone=UTC',
      application_name: names.statements,
      ...TIMEOUTS,
    });
    this.#pool.on('error', onLost);
    this.sequelize = new Sequelize(url, {
      dialect: 'postgres',
      dialectModule: pg,
      logging: false,
      pool: { max: size, acquire: CONNECT_TIMEOUT, idle: IDLE_TIMEOUT },
      dialectOptions: { application_name: names.transactions, ...TIMEOUTS },
    });
  }

  async query<Row>({ name, text }: StatementText, values: unknown[]): Promise<Row[]> {
    const { rows } = await this.#pool.query({ name, text, values, types: columnTypes });
    return rows;
  }

  /** @param labels what the two are called where they are measured */
  use(labels: { statements: string; transactions: string }): PoolUse[] {
    const { totalCount, idleCount, waitingCount } = this.#pool;
    const { available, using, waiting } = (this.sequelize as unknown as Inner).connectionManager.pool;
    return [
      { pool: labels.statements, idle: idleCount, busy: totalCount - idleCount, waiting: waitingCount },
      { pool: labels.transactions, idle: available, busy: using, waiting },
    ];
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#pool.end(), this.sequelize.close()]);
  }
}

/** What Sequelize does not publish of its pool, which is one of sequelize-pool. */
interface Inner {
  connectionManager: { pool: { available: number; using: number; waiting: number } };
}
