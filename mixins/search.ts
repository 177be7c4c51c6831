import { migration } from './db/migrations';

/**
 * What search needs of a database: `search_fold(text)` makes accents and case disappear, and trigrams find what
 * stands inside a word. `unaccent` itself is not immutable, because its dictionary could be changed: naming the
 * dictionary makes this function safe to index.
 *
 * A table that is searched has a column with everything that is searched in, and an index on it:
 *
 * ```sql
 * search_text text not null generated always as (search_fold(first_name || ' ' || last_name)) stored
 * create index users_search_text_idx on users using gin (search_text gin_trgm_ops);
 * ```
 *
 * and is searched by `search_text like (select search_fold($pattern))`, with the pattern of `likePattern`. The
 * sub-select folds the pattern once, not once a row.
 */
export const searchMigration = migration(
  'search',
  `create extension if not exists unaccent with schema public;
  create extension if not exists pg_trgm with schema public;
  create function search_fold(text) returns text language sql immutable strict parallel safe
    return public.unaccent('public.unaccent'::regdictionary, lower(normalize($1, nfkc)));`,
);

/**
 * Pattern of `like` for a text that is contained, whatever characters it has: `%`, `_` and `\` stand for themselves.
 * Accents and case are folded by PostgreSQL, in the same way as the column.
 */
export function likePattern(search: string): string {
  // Compatibility forms first: unaccent turns a full-width ％ into a plain one, which must not become a wildcard.
  return `%${search.normalize('NFKC').replace(/[\\%_]/g, '\\$&')}%`;
}
