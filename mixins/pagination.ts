import * as z from 'zod';
import { type Queryable, type Statement, statement } from './db/statement';

/** page x pageSize may not go further: deep pages cost what they skip. */
export const DEEPEST_ROW = 10_000;

type Shape = Record<string, z.ZodType>;

/** Query parameters of a list: `page`, `pageSize`, `sort=-createdAt,lastName` from a white list, and filters by name. */
export function pageParams<const S extends readonly [string, ...string[]], F extends Shape>(options: { sorts: S; filters: F }) {
  const fields = options.sorts.flatMap(field => [field, `-${field}`]);
  const Sort = z
    .string()
    .max(200)
    .refine(isListOf(fields), `must be a list of ${fields.join(', ')}, each field once`)
    .meta({ examples: [options.sorts[0]] })
    .optional();
  return z
    .strictObject({
      page: z.coerce
        .number({ error: 'must be a number' })
        .int('must be a whole number')
        .min(1, 'must be at least 1')
        .max(DEEPEST_ROW)
        .default(1),
      pageSize: z.coerce
        .number({ error: 'must be a number' })
        .int('must be a whole number')
        .min(1, 'must be at least 1')
        .max(100, 'must be at most 100')
        .default(20),
      sort: Sort,
      ...options.filters,
    })
    .refine(query => isReachable(query as { page: number; pageSize: number }), {
      path: ['page'],
      error: `page times pageSize must be at most ${DEEPEST_ROW}; use filters to go further`,
    });
}

function isListOf(fields: readonly string[]): (text: string) => boolean {
  return text => {
    const items = text.split(',');
    const names = items.map(item => item.replace('-', ''));
    return items.every(item => fields.includes(item)) && new Set(names).size === names.length;
  };
}

function isReachable({ page, pageSize }: { page: number; pageSize: number }): boolean {
  return page * pageSize <= DEEPEST_ROW;
}

/** Answer of a list. `total` is exact up to 10,000; beyond, it is 10,000 and `totalIsExact` false. */
export function pageOf<T extends z.ZodType>(row: T) {
  return z.object({
    rows: z.array(row).max(100),
    total: z.int(),
    totalIsExact: z.boolean(),
    page: z.int(),
    pageSize: z.int(),
    totalPages: z.int(),
  });
}

export interface Page<Row> {
  rows: Row[];
  total: number;
  totalIsExact: boolean;
  page: number;
  pageSize: number;
  totalPages: number;
}

/** What a list is made of, as SQL. `$name` are parameters of the caller's scope and of the filters. */
export interface ListingOptions {
  /** Start of the statements' names. */
  name: string;
  columns: string;
  from: string;
  /** What always holds: the company first. */
  where: string;
  /** Parameter -> condition, which counts when the parameter is given. */
  filters: Readonly<Record<string, string>>;
  /** Sort field -> expression; text columns sort as the database's locale says. */
  sorts: Readonly<Record<string, string>>;
  defaultSort: string;
  /** Unique expression that makes every order total, or pages would overlap. */
  tieBreaker: string;
}

interface PageRequest {
  page: number;
  pageSize: number;
  sort?: string;
}

export interface Listing<Row> {
  /** @param params the request as `pageParams` parsed it, and the caller's scope: company, self */
  page(on: Queryable, params: PageRequest & Record<string, unknown>): Promise<Page<Row>>;
}

/**
 * A paged list: one statement for each combination of filters and order that is asked for, prepared under a name.
 * The total counts at most 10,001 rows, in the same round trip.
 */
export function listing<Row>(options: ListingOptions): Listing<Row> {
  const prepared = new Map<string, Statement<object, Row & { pageTotal: number }>>();
  const count = new Map<string, Statement<object, { total: number }>>();
  const filtersOf = (params: Record<string, unknown>) => Object.keys(options.filters).filter(name => params[name] !== undefined);
  return {
    async page(on, params) {
      const filters = filtersOf(params);
      const sort = params.sort ?? options.defaultSort;
      const key = `${filters.join('+')} ${sort}`;
      const isUsual = sort === options.defaultSort || !sort.includes(',');
      const list = remember(prepared, key, isUsual, isKept =>
        statement(isKept ? `${options.name}.page` : '', pageSql(options, filters, sort)),
      );
      const { page, pageSize } = params;
      const rows = await list.all(on, { ...params, limit: pageSize, offset: (page - 1) * pageSize });
      let counted = rows[0]?.pageTotal ?? 0;
      if (rows.length === 0 && page > 1) {
        const total = remember(count, filters.join('+'), true, isKept =>
          statement(isKept ? `${options.name}.count` : '', `select ${countSql(options, filters)} as total`),
        );
        counted = (await total.one(on, params)).total;
      }
      const total = Math.min(counted, DEEPEST_ROW);
      return { rows, total, totalIsExact: counted <= DEEPEST_ROW, page, pageSize, totalPages: Math.ceil(total / pageSize) };
    },
  };
}

/**
 * Statements kept for each listing: those in the usual order or by one field. A caller who tries every order does not
 * fill the connections with plans.
 */
const MOST_STATEMENTS = 200;

function remember<T>(kept: Map<string, T>, key: string, isUsual: boolean, make: (isKept: boolean) => T): T {
  const known = kept.get(key);
  if (known) return known;
  const isKept = isUsual && kept.size < MOST_STATEMENTS;
  const made = make(isKept);
  if (isKept) kept.set(key, made);
  return made;
}

function conditions(options: ListingOptions, filters: string[]): string {
  return [options.where, ...filters.map(name => options.filters[name])].map(condition => `(${condition})`).join(' and ');
}

function countSql(options: ListingOptions, filters: string[]): string {
  const matching = `select 1 from ${options.from} where ${conditions(options, filters)} limit ${DEEPEST_ROW + 1}`;
  return `(select count(*)::int from (${matching}) matching)`;
}

function pageSql(options: ListingOptions, filters: string[], sort: string): string {
  const order = sort.split(',').map(field => {
    const isDescending = field.startsWith('-');
    return `${options.sorts[isDescending ? field.slice(1) : field]}${isDescending ? ' desc nulls last' : ''}`;
  });
  return `select ${options.columns}, ${countSql(options, filters)} as "pageTotal" from ${options.from}
    where ${conditions(options, filters)} order by ${[...order, options.tieBreaker].join(', ')} limit $limit offset $offset`;
}
