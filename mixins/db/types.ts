import pg from 'pg';

const { builtins, getTypeParser } = pg.types;

/** `2026-03-29 01:00:00.5+00` (the session is in UTC) to ISO 8601 with milliseconds, without a Date in between. */
function toIsoInstant(text: string): string {
  const time = `${text.slice(0, 10)}T${text.slice(11, text.lastIndexOf('+'))}`;
  return time.length === 19 ? `${time}.000Z` : `${time.padEnd(23, '0').slice(0, 23)}Z`;
}

const parsers = new Map<number, (text: string) => unknown>([
  [builtins.TIMESTAMPTZ, toIsoInstant],
  [builtins.DATE, text => text],
  [builtins.INT8, Number],
]);

/**
 * How our statements read columns: instants as ISO 8601 strings, days as `YYYY-MM-DD`, bigint as numbers.
 * Given to each query rather than set on `pg.types`, which is global and reaches Sequelize's own queries.
 */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format: 'text') => parsers.get(oid) ?? getTypeParser(oid, format)) as typeof getTypeParser,
};
