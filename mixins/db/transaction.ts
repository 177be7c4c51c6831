import { AsyncLocalStorage } from 'node:async_hooks';
import type pg from 'pg';
import { literal, type Sequelize, type Transaction as SequelizeTransaction, type WhereOptions } from 'sequelize';
import type { CommandContext } from '../contract';
import { type Batch, together } from './batch';
import { modelOf, type Table } from './model';
import type { Queryable, StatementText } from './statement';
import { columnTypes } from './types';

/** Set while a transaction is open in this chain of calls: a second one inside could wait for the first for ever. */
const open = new AsyncLocalStorage<Transaction>();

/** Whether this chain of calls has a transaction open on the given database. */
export function isInTransaction(database: string): boolean {
  return open.getStore()?.database === database;
}

/** Where a transaction runs. */
export interface TransactionHost {
  /** Name of the database. */
  readonly name: string;
  readonly sequelize: Sequelize;
  /** Runs a single statement outside of any transaction. */
  readonly pool: Queryable;
  /** The `Database`: what is to be told of the commit hangs there. */
  readonly owner: object;
}

/**
 * A transaction. Statements and writes through it see and make one consistent change, or none.
 *
 * It begins with the first statement. What is only to be written is written at the end, all in one statement; a command
 * that reads beforehand and then only writes is therefore a single statement, atomic by itself.
 */
export class Transaction implements Queryable {
  readonly #hooks: (() => void)[] = [];
  readonly #atEnd = new Map<Batch<object>, object[]>();
  #begun: Promise<SequelizeTransaction> | undefined;

  constructor(
    private readonly host: TransactionHost,
    /** The command that it belongs to; none for migrations, jobs and events. */
    readonly ctx: CommandContext | undefined,
  ) {}

  /** Name of the database that it changes. */
  get database(): string {
    return this.host.name;
  }

  get owner(): object {
    return this.host.owner;
  }

  async execute<Row>(statement: StatementText, values: unknown[]): Promise<Row[]> {
    const { connection } = (await this.#begin()) as unknown as { connection: pg.ClientBase };
    const { rows } = await connection.query({ name: statement.name, text: statement.text, values, types: columnTypes });
    return rows;
  }

  async insert<Row extends object>(into: Table<Row>, values: Row | readonly Row[]): Promise<void> {
    const rows = Array.isArray(values) ? values : [values];
    const transaction = await this.#begin();
    await modelOf(this.host.sequelize, into).bulkCreate(rows as never, { transaction, returning: false, hooks: false });
  }

  /** Changes the rows that match; returns how many there were. */
  async update<Row extends object>(of: Table<Row>, where: Partial<Row>, values: Partial<Row>): Promise<number> {
    const stamped = of.versioned ? { ...values, version: literal('version + 1'), updatedAt: literal('now()') } : values;
    const options = { where: where as WhereOptions, transaction: await this.#begin(), hooks: false };
    const [count] = await modelOf(this.host.sequelize, of).update(stamped as object, options);
    return count;
  }

  /** Deletes the rows that match; returns how many there were. */
  async remove<Row extends object>(from: Table<Row>, where: Partial<Row>): Promise<number> {
    const options = { where: where as WhereOptions, transaction: await this.#begin(), hooks: false };
    return modelOf(this.host.sequelize, from).destroy(options);
  }

  /** Inserts rows when all else is done; nothing in this transaction sees them. */
  writeAtEnd<Row extends object>(into: Batch<Row>, rows: readonly Row[]): void {
    const waiting = this.#atEnd.get(into as Batch<object>);
    if (waiting) waiting.push(...rows);
    else if (rows.length > 0) this.#atEnd.set(into as Batch<object>, [...rows]);
  }

  /** Runs `hook` once the change is durable; never when it was rolled back. A hook may not fail. */
  afterCommit(hook: () => void): void {
    this.#hooks.push(hook);
  }

  /** Makes it durable. Only for whoever opened it. */
  async commit(): Promise<void> {
    await this.#writeRest(this.#begun ? this : this.host.pool);
    await (await this.#begun)?.commit();
    for (const hook of this.#hooks) hook();
  }

  /** Undoes it. Only for whoever opened it; never rejects: a connection that is lost has undone it already. */
  async rollback(): Promise<void> {
    const begun = await this.#begun?.catch(() => undefined);
    await begun?.rollback().catch(() => undefined);
  }

  async #writeRest(on: Queryable): Promise<void> {
    if (this.#atEnd.size === 0) return;
    const { statement, params } = together(this.#atEnd);
    await statement.all(on, params);
  }

  #begin(): Promise<SequelizeTransaction> {
    this.#begun ??= this.host.sequelize.transaction();
    return this.#begun;
  }
}

/**
 * Runs `work` as one transaction.
 * @throws when the caller is inside a transaction already: on a full pool that would be a deadlock
 */
export async function runTransaction<T>(
  host: TransactionHost,
  ctx: CommandContext | undefined,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  if (open.getStore()) throw new Error(`A transaction on ${host.name} was opened inside another`);
  const tx = new Transaction(host, ctx);
  try {
    const result = await open.run(tx, work, tx);
    await tx.commit();
    return result;
  } catch (error) {
    await tx.rollback();
    throw error;
  }
}
