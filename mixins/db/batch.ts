import { type Statement, statement } from './statement';

/** Rows of one kind that are written together. */
export interface Batch<Row extends object> {
  readonly name: string;
  /** `insert … select … from jsonb_to_recordset($rows::jsonb) …` */
  readonly insert: string;
  /** Statements that come first, by the name under which `insert` finds what they return. */
  readonly ahead: Readonly<Record<string, string>>;
  /** Never there; binds the type of rows to the batch. */
  readonly row?: Row;
}

/**
 * Declares how rows of one kind are inserted, any number of them in one round trip.
 *
 * ```ts
 * const newTeams = batch<{ id: string; name: string }>('teams.new',
 *   `insert into teams (id, name) select id, name from jsonb_to_recordset($rows::jsonb) as row(id uuid, name text)`);
 * tx.writeAtEnd(newTeams, rows);
 * ```
 * @param ahead inserts that come first, and whose `returning` this one needs, by a name that is unique in its database
 */
export function batch<Row extends object>(name: string, insert: string, ahead: Record<string, string> = {}): Batch<Row> {
  return { name, insert, ahead };
}

// By their texts: a hot reload makes batches anew. Few combinations of batches are ever written together.
const combined = new Map<string, Statement<Record<string, string>, object>>();

/**
 * One statement that inserts all of these batches: one round trip, all or nothing. Its parts see the database as it was
 * before; foreign keys are looked at when all of them are done.
 */
export function together(batches: ReadonlyMap<Batch<object>, readonly object[]>): {
  statement: Statement<Record<string, string>, object>;
  params: Record<string, string>;
} {
  const parts = [...batches.keys()].flatMap(({ insert, ahead }, at) =>
    Object.entries({ ...ahead, [`part${at}`]: insert }).map(
      ([part, sql]) => `${part} as (${sql.replaceAll('$rows', `$rows${at}`)})`,
    ),
  );
  const text = `with ${parts.join(', ')} select`;
  const name = [...batches.keys()].map(each => each.name).join('+');
  const known = combined.get(text) ?? statement<Record<string, string>, object>(name, text);
  combined.set(text, known);
  const params = [...batches.values()].map((rows, at) => [`rows${at}`, JSON.stringify(rows)]);
  return { statement: known, params: Object.fromEntries(params) };
}
