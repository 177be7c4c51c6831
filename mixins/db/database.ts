import type { ServiceBroker } from 'moleculer';
import type { Sequelize } from 'sequelize';
import type { CommandContext } from '../contract';
import { commonProblems } from '../errors';
import { type ConstraintProblems, isRetriable, isUnavailable, toProblem } from './errors';
import { Listener } from './listener';
import { type Migration, migrate } from './migrations';
import { Pools, type PoolUse } from './pools';
import type { Queryable, StatementText } from './statement';
import { isInTransaction, runTransaction, type Transaction, type TransactionHost } from './transaction';

const POOL_SIZE = 5;
const MAX_BACKOFF = 10_000;
const MAX_ATTEMPTS = 3;

export interface DatabaseOptions {
  /** Short name: `users`, `tasks` … */
  name: string;
  url: string;
  migrations: readonly Migration[];
  constraints: ConstraintProblems;
}

type Log = Pick<ServiceBroker['logger'], 'info' | 'warn' | 'error'>;

/**
 * One PostgreSQL database of a domain, shared by the services of that domain in this process: a pool of `pg` for
 * statements, Sequelize for transactions, a connection for NOTIFY. Connects and migrates in the background, and keeps
 * trying; until then everything asked of it is a 503.
 */
export class Database implements Queryable {
  readonly name: string;
  readonly url: string;
  readonly listener: Listener;
  readonly #pools: Pools;
  readonly #host: TransactionHost;
  readonly #options: DatabaseOptions;
  readonly #log: Log;
  readonly #ready: Promise<void>;
  /** Settles with the first try to connect: rejected only by a failed migration, not by a database out of reach. */
  readonly firstTry: Promise<void>;
  #isReady = false;
  #users = 0;
  #closing: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(options: DatabaseOptions, log: Log) {
    this.name = options.name;
    this.url = options.url;
    this.#options = options;
    this.#log = log;
    this.#pools = new Pools({
      url: options.url,
      size: POOL_SIZE,
      names: { statements: `hiver-${options.name}`, transactions: `hiver-${options.name}-tx` },
      onLost: error => log.warn(`An idle connection to ${this.name} was lost: ${error.message}`),
    });
    const pool = { execute: <Row>(text: StatementText, values: unknown[]) => this.#pools.query<Row>(text, values) };
    this.#host = { name: this.name, sequelize: this.sequelize, pool, owner: this };
    this.listener = new Listener(options.url, error => log.warn(`No NOTIFY from ${this.name} for now: ${error.message}`));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.firstTry = promise;
    this.#ready = this.#open(resolve);
    this.#ready.then(resolve, reject);
  }

  /** Whether it was reached and migrated. A database that dies later is still "ready": queries say what is wrong. */
  get isReady(): boolean {
    return this.#isReady;
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  get sequelize(): Sequelize {
    return this.#pools.sequelize;
  }

  get pools(): PoolUse[] {
    return this.#pools.use({ statements: 'statements', transactions: 'transactions' });
  }

  /** Resolves once the database was reached and migrated; rejects when a migration fails or it was closed first. */
  whenReady(): Promise<void> {
    return this.#ready;
  }

  async execute<Row>(statement: StatementText, values: unknown[]): Promise<Row[]> {
    this.#assertReady();
    if (isInTransaction(this.name)) throw new Error(`${statement.name} bypassed the open transaction: give it the transaction`);
    try {
      return await this.#pools.query(statement, values);
    } catch (error) {
      throw toProblem(error, this.#options.constraints);
    }
  }

  /**
   * Runs `work` as one change. After a deadlock or a serialisation failure it runs again, so it must not do anything
   * outside the transaction.
   */
  async inTransaction<T>(ctx: CommandContext | undefined, work: (tx: Transaction) => Promise<T>): Promise<T> {
    this.#assertReady();
    for (let attempt = 1; ; attempt++) {
      try {
        return await runTransaction(this.#host, ctx, work);
      } catch (error) {
        if (attempt < MAX_ATTEMPTS && isRetriable(error)) continue;
        throw toProblem(error, this.#options.constraints);
      }
    }
  }

  /** Answers when the database does, with a bound of its own; for health checks. */
  async ping(): Promise<void> {
    this.#assertReady();
    await this.execute({ name: 'ping', text: 'select 1' }, []);
  }

  retain(): this {
    this.#users++;
    return this;
  }

  /** Lets go; returns whether this was the last user. */
  release(): boolean {
    return --this.#users === 0;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#wake?.();
    await this.#ready.catch(() => undefined);
    await Promise.allSettled([this.listener.close(), this.#pools.close()]);
  }

  async #open(onOutOfReach: () => void): Promise<void> {
    for (let backoff = 250; !this.#closing; backoff = Math.min(backoff * 2, MAX_BACKOFF)) {
      try {
        const ran = await migrate(this.url, this.sequelize, this.#options.migrations);
        if (ran.length > 0) this.#log.info(`Database ${this.name}: ran ${ran.join(', ')}`);
        this.#isReady = true;
        return;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#log.warn(`Database ${this.name} cannot be reached (${(error as Error).message}); next try in ${backoff} ms`);
        onOutOfReach();
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, backoff);
          this.#wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    }
    throw new Error(`Database ${this.name} was closed before it could be reached`);
  }

  #assertReady(): void {
    if (!this.#isReady || this.#closing) throw commonProblems.UNAVAILABLE({ retryAfter: 1 });
  }
}

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const DATABASES = Symbol.for('hiver.databases');
type Holder = ServiceBroker & { [DATABASES]?: Map<string, Database> };

/** The databases that services of this broker use, by name. */
export function databasesOf(broker: ServiceBroker): Map<string, Database> {
  const holder = broker as Holder;
  holder[DATABASES] ??= new Map();
  return holder[DATABASES];
}

/** The shared database of that name, opened at its first use; `release` it when done. */
export function openDatabase(broker: ServiceBroker, options: DatabaseOptions): Database {
  const databases = databasesOf(broker);
  const known = databases.get(options.name);
  if (known) return known.retain();
  const database = new Database(options, broker.getLogger(`db.${options.name}`));
  databases.set(options.name, database);
  // Whoever awaits readiness hears of a failure; unheard it would end the process from anywhere.
  database.whenReady().catch(() => undefined);
  database.firstTry.catch(() => undefined);
  return database.retain();
}

/** Gives a database back; the last user closes it. */
export async function closeDatabase(broker: ServiceBroker, database: Database): Promise<void> {
  if (!database.release()) return;
  databasesOf(broker).delete(database.name);
  await database.close();
}
