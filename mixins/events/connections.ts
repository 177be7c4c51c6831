import { Pools, type PoolUse } from '../db/pools';
import type { Queryable, StatementText } from '../db/statement';
import { runTransaction, type Transaction } from '../db/transaction';

const POOL_SIZE = 3;

/**
 * The event log's own connections to a database: requests that fill the pools of the service do not hold events up, nor
 * events requests. Errors are the driver's own.
 */
export class Connections implements Queryable {
  readonly #pools: Pools;

  /** @param owner the database that is told of what transactions record */
  constructor(
    private readonly owner: { readonly name: string; readonly url: string },
    onLost: (error: Error) => void,
  ) {
    const names = { statements: `hiver-${owner.name}-log`, transactions: `hiver-${owner.name}-events` };
    this.#pools = new Pools({ url: owner.url, size: POOL_SIZE, names, onLost });
  }

  execute<Row>(statement: StatementText, values: unknown[]): Promise<Row[]> {
    return this.#pools.query(statement, values);
  }

  inTransaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { sequelize } = this.#pools;
    return runTransaction({ name: this.owner.name, sequelize, pool: this, owner: this.owner }, undefined, work);
  }

  get pools(): PoolUse[] {
    return this.#pools.use({ statements: 'events', transactions: 'events-transactions' });
  }

  close(): Promise<void> {
    return this.#pools.close();
  }
}
