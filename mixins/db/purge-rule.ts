import { type Queryable, statement } from './statement';

/** Deletes up to `limit` rows that are no longer needed, and returns how many. */
export type PurgeRule = (on: Queryable, limit: number) => Promise<number>;

/**
 * A rule for the daily purge, in batches so that nobody waits for its locks.
 * @param condition what makes a row of the table superfluous, as SQL
 */
export function purgeWhere(table: string, condition: string): PurgeRule {
  const remove = statement<{ limit: number }, { deleted: number }>(
    `purge.${table}`,
    `with gone as (delete from ${table} where ctid in (select ctid from ${table} where ${condition} limit $limit) returning 1)
     select count(*) as deleted from gone`,
  );
  return async (on, limit) => (await remove.one(on, { limit })).deleted;
}
