import * as z from 'zod';

/** page x pageSize may not go further: deep pages cost what they skip. */
export const DEEPEST_ROW = 10_000;

type Shape = Record<string, z.ZodType>;

/** Query parameters of a list: `page`, `pageSize`, `sort=-createdAt,lastName` from a white list, and filters by name. */
export function pageParams<const S extends readonly [string, ...string[]], F extends Shape>(options: { sorts: S; filters: F }) {
  const fields = options.sorts.flatMap(field => [field, `-${field}`]);
  const Sort = z
    .string()
    .max(200)
    .refine(text => text.split(',').every(item => fields.includes(item)), `must be a list of ${fields.join(', ')}`)
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
