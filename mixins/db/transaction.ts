import { AsyncLocalStorage } from 'node:async_hooks';
import type pg from 'pg';
import { literal, type Sequelize, type Transaction as SequelizeTransaction, type WhereOptions } from 'sequelize';
import type { CommandContext } from '../contract';
import { modelOf, type Table } from './model';
import type { Queryable, StatementText } from './statement';
import { columnTypes } from './types';

/** Set while a transaction is open in this chain of calls: a second one inside could wait for the first for ever. */
const open = new AsyncLocalStorage<Transaction>();

/** An open transaction. Statements and writes through it see and make one consistent change, or none. */
export class Transaction implements Queryable {
  readonly #hooks: (() => void)[] = [];

  constructor(
    /** Name of the database that it changes. */
    readonly database: string,
    /** The command that it belongs to; none for migrations, jobs and events. */
    readonly ctx: CommandContext | undefined,
    private readonly sequelize: Sequelize,
    private readonly inner: SequelizeTransaction,
    /** The `Database` that opened it: what is to be told of its commit hangs there. */
    readonly owner: object | undefined,
  ) {}

  async execute<Row>(statement: StatementText, values: unknown[]): Promise<Row[]> {
    const { connection } = this.inner as unknown as { connection: pg.ClientBase };
    const { rows } = await connection.query({ name: statement.name, text: statement.text, values, types: columnTypes });
    return rows;
  }

  async insert<Row extends object>(into: Table<Row>, values: Row | readonly Row[]): Promise<void> {
    const rows = Array.isArray(values) ? values : [values];
    await modelOf(this.sequelize, into).bulkCreate(rows as never, { transaction: this.inner, returning: false, hooks: false });
  }

  /** Changes the rows that match; returns how many there were. */
  async update<Row extends object>(of: Table<Row>, where: Partial<Row>, values: Partial<Row>): Promise<number> {
    const stamped = of.versioned ? { ...values, version: literal('version + 1'), updatedAt: literal('now()') } : values;
    const [count] = await modelOf(this.sequelize, of).update(stamped as object, {
      where: where as WhereOptions,
      transaction: this.inner,
      hooks: false,
    });
    return count;
  }

  /** Deletes the rows that match; returns how many there were. */
  async remove<Row extends object>(from: Table<Row>, where: Partial<Row>): Promise<number> {
    return modelOf(this.sequelize, from).destroy({ where: where as WhereOptions, transaction: this.inner, hooks: false });
  }

  /** Runs `hook` once the change is durable; never when it was rolled back. A hook may not fail. */
  afterCommit(hook: () => void): void {
    this.#hooks.push(hook);
  }

  committed(): void {
    for (const hook of this.#hooks) hook();
  }
}

/**
 * Runs `work` in one transaction on Sequelize's pool.
 * @throws when the caller is inside a transaction already: on a full pool that would be a deadlock
 */
export async function runTransaction<T>(
  database: string,
  ctx: CommandContext | undefined,
  sequelize: Sequelize,
  work: (tx: Transaction) => Promise<T>,
  owner?: object,
): Promise<T> {
  if (open.getStore()) throw new Error(`A transaction on ${database} was opened inside another`);
  let tx: Transaction | undefined;
  const result = await sequelize.transaction(inner => {
    tx = new Transaction(database, ctx, sequelize, inner, owner);
    return open.run(tx, work, tx);
  });
  tx?.committed();
  return result;
}

/** Whether this chain of calls has a transaction open on the given database. */
export function isInTransaction(database: string): boolean {
  return open.getStore()?.database === database;
}
