import type { Service, ServiceSchema } from 'moleculer';
import DbService from 'moleculer-db';
import SqlAdapter from 'moleculer-db-adapter-sequelize';
import type { Sequelize } from 'sequelize';
import { configOf, type Domain, databaseVariable } from '../config';
import type { CommandContext } from '../contract';
import { idempotent } from '../idempotency/idempotency';
import { closeDatabase, type Database, openDatabase } from './database';
import type { ConstraintProblems } from './errors';
import type { Migration } from './migrations';
import { modelOf, type Table } from './model';
import type { PurgeRule } from './purge-rule';
import type { Transaction } from './transaction';

/** What a service finds on `this` once it has a database. */
export interface DbVars {
  /** Runs statements, each by itself. */
  db: Database;
}

export interface DbMethods {
  /**
   * Runs a command as one change; its result is the command's answer, kept with the change under the request's
   * Idempotency-Key. Nesting it is an error.
   */
  inTransaction<T>(ctx: CommandContext, work: (tx: Transaction) => Promise<T>): Promise<T>;
}

/** A domain's database: what all of its services share. */
export interface DomainDatabase {
  name: Domain;
  migrations: readonly Migration[];
  constraints: ConstraintProblems;
  /** What the daily purge deletes beside the tables that all domains have. */
  purges?: readonly PurgeRule[];
}

/**
 * moleculer-db on the domain's shared Sequelize. Looked up in `connect()`: mixins are cloned deeply, and a Sequelize
 * instance among their options would be too.
 */
class DomainAdapter extends SqlAdapter {
  declare service: Service & DbVars;
  declare db: Sequelize;
  declare model: unknown;

  constructor(private readonly table: Table<object>) {
    super({ noSync: true });
  }

  override async connect(): Promise<void> {
    this.db = this.service.db.sequelize;
    this.model = modelOf(this.db, this.table);
  }

  // The domain's services share the connections; the last one closes them.
  override async disconnect(): Promise<void> {}
}

/** moleculer-db's own actions take queries, fields and populates from the caller: none of them exists here. */
const NO_GENERIC_ACTIONS = {
  find: false,
  count: false,
  list: false,
  create: false,
  insert: false,
  get: false,
  update: false,
  remove: false,
} as const;

/**
 * Gives a service its domain's database through moleculer-db and the Sequelize adapter.
 * @param main the table that the service is about
 */
export function db<Row extends object>(domain: DomainDatabase, main: Table<Row>): Partial<ServiceSchema> {
  const mixin = {
    mixins: [DbService as Partial<ServiceSchema>],
    adapter: new DomainAdapter(main as unknown as Table<object>),
    model: { name: main.name },
    settings: { idField: 'id', rest: false },
    actions: NO_GENERIC_ACTIONS,
    methods: {
      inTransaction<T>(this: Service & DbVars, ctx: CommandContext, work: (tx: Transaction) => Promise<T>): Promise<T> {
        return this.db.inTransaction(ctx, tx => idempotent(ctx, tx, work));
      },
    },
    created(this: Service & DbVars) {
      const url = configOf(this.broker).databaseUrls[domain.name];
      if (!url) throw new Error(`${databaseVariable(domain.name)} is missing`);
      this.db = openDatabase(this.broker, { ...domain, url });
    },
    /** Waits for the first try only: a node starts with its database down, and says 503 until it is there. */
    async started(this: Service & DbVars) {
      await this.db.firstTry;
      this.db.whenReady().catch(error => {
        if (this.db.isClosing) return;
        this.broker.fatal(`Database ${domain.name} could not be made ready`, error);
      });
    },
    async stopped(this: Service & DbVars) {
      await closeDatabase(this.broker, this.db);
    },
  };
  return mixin as unknown as Partial<ServiceSchema>;
}
