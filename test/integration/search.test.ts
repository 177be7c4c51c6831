import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../mixins/db/database';
import { migration } from '../../mixins/db/migrations';
import { statement } from '../../mixins/db/statement';
import { likePattern, searchMigration } from '../../mixins/search';
import { freshDatabase } from '../helpers/database';

const people = migration(
  'people',
  `create table people (
    name text not null,
    -- As wide as a person: a narrow table is read as a whole for less.
    about text not null default repeat('x', 400),
    search_text text not null generated always as (search_fold(name)) stored
  );
  create index people_search_text_idx on people using gin (search_text gin_trgm_ops);
  insert into people (name) select 'Somebody ' || n from generate_series(1, 20000) as n;
  insert into people (name) values ('Zoë Lefèvre'), ('LEFEVRE Anne'), ('Œuvrard Jean'), ('Straße'), ('50% off'), ('a_b'), ('axb'), ('back\\slash'),
    ('Šimić'), (E'E\\u0301milie'), ('İpek');
  analyze people;`,
);

let db: Database;
beforeAll(async () => {
  const silent = { info() {}, warn() {}, error() {} };
  db = new Database(
    { name: 'search', url: await freshDatabase('search'), migrations: [searchMigration, people], constraints: {} },
    silent,
  );
  await db.whenReady();
});
afterAll(() => db.close());

const find = statement<{ pattern: string }, { name: string }>(
  'test.find',
  `select name from people where search_text like (select search_fold($pattern)) order by name`,
);
const names = async (search: string) => (await find.all(db, { pattern: likePattern(search) })).map(({ name }) => name);

describe('search', () => {
  it.each([
    ['lefevre', ['LEFEVRE Anne', 'Zoë Lefèvre']],
    ['Lefèvre', ['LEFEVRE Anne', 'Zoë Lefèvre']],
    ['LEFE\u0300VRE', ['LEFEVRE Anne', 'Zoë Lefèvre']],
    ['zoe l', ['Zoë Lefèvre']],
    ['œuv', ['Œuvrard Jean']],
    ['oeuv', ['Œuvrard Jean']],
    ['strasse', ['Straße']],
    ['STRASSE', ['Straße']],
    ['simic', ['Šimić']],
    ['émilie', ['E\u0301milie']],
    ['ipek', ['İpek']],
    ['nobody', []],
  ])('finds %s without regard to accents and case', async (search, expected) => {
    expect(await names(search)).toEqual(expected);
  });

  it.each([
    ['%', ['50% off']],
    ['％', ['50% off']],
    ['_', ['a_b']],
    ['a_b', ['a_b']],
    ['\\', ['back\\slash']],
    ['back\\s', ['back\\slash']],
    ['\\%', []],
    ["'; drop table people; --", []],
  ])('takes %s for what it is', async (search, expected) => {
    expect(await names(search)).toEqual(expected);
  });

  it('uses the index, although the pattern is not known when the statement is planned', async () => {
    const explain = `explain select name from people where search_text like (select search_fold($1))`;
    const plan = await db.execute<{ 'QUERY PLAN': string }>({ name: '', text: explain }, ['%lefevre%']);
    expect(plan.map(row => row['QUERY PLAN']).join('\n')).toContain('people_search_text_idx');
  });
});
