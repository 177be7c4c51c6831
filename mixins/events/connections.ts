import pg from 'pg';
import { Sequelize } from 'sequelize';
import { type PoolUse, useOfPg, useOfSequelize } from '../db/pool-use';
import type { Queryable, StatementText } from '../db/statement';
import { runTransaction, type Transaction } from '../db/transaction';
import { columnTypes } from '../db/types';

const POOL_SIZE = 3;
const CONNECT_TIMEOUT = 3_000;
const STATEMENT_TIMEOUT = 10_000;
const TIMEOUTS = {
  connectionTimeoutMillis: CONNECT_TIMEOUT,
  statement_timeout: STATEMENT_TIMEOUT,
  query_timeout: STATEMENT_TIMEOUT + 1_000,
  idle_in_transaction_session_timeout: 30_000,
};

/**
 * The event log's own connections to a database: requests that fill the pools of the service do not hold events up, nor
 * events requests. Errors are the driver's own.
 */
export class Connections implements Queryable {
  readonly #pool: pg.Pool;
  readonly #sequelize: Sequelize;

  /** @param owner the database that is told of what transactions record */
  constructor(
    private readonly owner: { readonly name: string; readonly url: string },
    onLost: (error: Error) => void,
  ) {
    this.#pool = new pg.Pool({
      connectionString: owner.url,
      max: POOL_SIZE,
      idleTimeoutMillis: 30_000,
      options: '-c TimeZone=UTC',
      application_name: `hiver-${owner.name}-log`,
      ...TIMEOUTS,
    });
    this.#pool.on('error', onLost);
    this.#sequelize = new Sequelize(owner.url, {
      dialect: 'postgres',
      dialectModule: pg,
      logging: false,
      pool: { max: POOL_SIZE, acquire: CONNECT_TIMEOUT, idle: 30_000 },
      dialectOptions: { application_name: `hiver-${owner.name}-events`, ...TIMEOUTS },
    });
  }

  async execute<Row>({ name, text }: StatementText, values: unknown[]): Promise<Row[]> {
    const { rows } = await this.#pool.query({ name, text, values, types: columnTypes });
    return rows;
  }

  inTransaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return runTransaction({ name: this.owner.name, sequelize: this.#sequelize, pool: this, owner: this.owner }, undefined, work);
  }

  get pools(): PoolUse[] {
    return [useOfPg('events', this.#pool), useOfSequelize('events-transactions', this.#sequelize)];
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#pool.end(), this.#sequelize.close()]);
  }
}
