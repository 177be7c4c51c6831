import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import type { Aggregates } from './republish';

/**
 * How an owner walks through the rows of a table of aggregates, of all companies in the order of their ids, and counts
 * their versions up.
 * @param columns what is read of each, as SQL; their ids unless told
 */
export function aggregateRows<Row extends { id: string } = { id: string }>(table: string, columns = 'id') {
  const page = `select ${columns} from ${table} where $after::uuid is null or id > $after order by id limit $limit`;
  type Params = { after: string | undefined; limit: number };
  const read = statement<Params, Row>(`${table}.page`, page);
  // Held against changes until the transaction ends.
  const lock = statement<Params, Row>(`${table}.lockPage`, `${page} for no key update`);
  const raise = statement<{ ids: readonly string[]; by: number }>(
    `${table}.raiseVersions`,
    `update ${table} set version = version + $by where id = any($ids::uuid[])`,
  );
  return {
    page: (tx: Transaction, after: string | undefined, limit: number, isLocking: boolean): Promise<Row[]> =>
      (isLocking ? lock : read).all(tx, { after, limit }),
    raise: (async (tx, ids, by) => {
      await raise.all(tx, { ids, by });
    }) satisfies Aggregates['raise'],
  };
}
