import { createHash } from 'node:crypto';

/** Whatever can run a statement: a database (its pool) or an open transaction. */
export interface Queryable {
  execute<Row>(statement: StatementText, values: unknown[]): Promise<Row[]>;
}

/** A statement as PostgreSQL gets it. */
export interface StatementText {
  /** Name under which each connection prepares it once. */
  readonly name: string;
  readonly text: string;
}

export interface Statement<Params extends object, Row> {
  /** Every row. */
  all(on: Queryable, params: Params): Promise<Row[]>;
  /** The row, or `undefined` when there is none. */
  maybe(on: Queryable, params: Params): Promise<Row | undefined>;
  /** The row of a statement that always has one. */
  one(on: Queryable, params: Params): Promise<Row>;
}

const PARAMETER = /(?<![\w$])\$([a-z]\w*)/gi;

/** Replaces `$name` by `$1`, `$2` …; returns the names in order. Dollar-quoted bodies do not belong in statements. */
function number(sql: string): { text: string; names: string[] } {
  const names: string[] = [];
  const text = sql.replace(PARAMETER, (_, name: string) => {
    const known = names.indexOf(name);
    return `$${known >= 0 ? known + 1 : names.push(name)}`;
  });
  return { text, names };
}

/**
 * A named prepared statement, the fast way to PostgreSQL: parsed and planned once for each connection.
 *
 * ```ts
 * const findTeam = statement<{ companyId: string; id: string }, TeamRow>('teams.find',
 *   `select id, name from teams where company_id = $companyId and id = $id`);
 * const team = await findTeam.maybe(this.db, { companyId, id });
 * ```
 * @param name for the reader of pg_stat_statements; '' to have it planned afresh each time
 * @param sql parameters as `$name`; undefined parameters are sent as null
 */
export function statement<Params extends object, Row = Record<string, never>>(name: string, sql: string): Statement<Params, Row> {
  const { text, names } = number(sql);
  const prepared: StatementText = { name: nameWithHash(name, text), text };
  const run = (on: Queryable, params: Params) =>
    on.execute<Row>(
      prepared,
      names.map(key => (params as Record<string, unknown>)[key] ?? null),
    );
  return {
    all: run,
    maybe: async (on, params) => (await run(on, params))[0],
    async one(on, params) {
      const [row] = await run(on, params);
      if (row === undefined) throw new Error(`${name} found no row where there is always one`);
      return row;
    },
  };
}

/** The text's hash is in the name: connections outlive a hot reload, and a name may mean one text only. */
function nameWithHash(name: string, text: string): string {
  if (name === '') return '';
  return `${name.slice(0, 40)}-${createHash('sha256').update(text).digest('base64url').slice(0, 22)}`;
}
