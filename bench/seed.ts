import { createHash } from 'node:crypto';
import { hash } from '@node-rs/argon2';
import pg from 'pg';
import { Sequelize } from 'sequelize';
import { migrate } from '../mixins/db/migrations';
import { allMigrations } from '../mixins/domain.mixin';
import { usersDomain } from '../services/users/users.domain';

/** What everybody signs in with. */
export const PASSWORD = 'correct horse battery';
/** People and teams of the first company. */
export const PEOPLE = 2_000;
const TEAMS = 20;
/** Seats of the reading scenarios, each somebody else's. */
export const MEMBERS = 32;
/** Other companies, and people in each. */
const SMALL_COMPANIES = 5;
const SMALL_PEOPLE = 200;

/** Address of person `n` (from 1) of company `c` (from 1); the first person of a company is its ADMIN. */
export function emailOf(company: number, person: number): string {
  return `person.${person}@company${company}.example`;
}

/** Address of the member in a seat (from 0). */
export function memberEmail(seat: number): string {
  return emailOf(1, 1 + Math.floor((seat * PEOPLE) / MEMBERS));
}

/** OWASP's first choice for argon2id: 19 MiB, two passes. */
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

const SEED = `
with settings as (
  select c, case when c = 1 then $2::int else $3::int end as people, case when c = 1 then $4::int else 4 end as teams
  from generate_series(1, $5::int + 1) c),
made_companies as (
  insert into companies (id, name, time_zone, locale)
  select uuidv7(), 'Company ' || c, 'Europe/Paris', 'fr' from settings returning id, name),
company as (
  select made.id, s.* from settings s join made_companies made on made.name = 'Company ' || s.c),
names as (
  select array['Élodie','Camille','Théo','Leïla','Thabo','Kenji','Yusuf','Amélie','Arjun','Anouk','Inès','Hana','Zanele','Noé','Maëlys'] as first,
    array['Lefèvre','Moreau','Nguyễn','Henry','Fernández','Yamamoto','Moretti','Girard','Iyer','Diallo','Benali','Šimić','Müller','Garnier'] as last),
made_users as (
  insert into users (id, company_id, first_name, last_name, email, email_verified_at, password_hash, role, status, phone,
    time_zone, locale, starts_on)
  select uuidv7(), company.id, names.first[1 + n % 15], names.last[1 + n % 14],
    'person.' || n || '@company' || c || '.example', now(), $1,
    case when n = 1 then 'ADMIN' when n <= 1 + company.teams then 'MANAGER' else 'EMPLOYEE' end, 'ACTIVE',
    case when n % 3 = 0 then '+33 6 12 34 56 78' end, 'Europe/Paris', 'fr', date '2020-01-06' + n
  from company, names, generate_series(1, company.people) n
  returning id, company_id, email),
made_teams as (
  insert into teams (id, company_id, name)
  select uuidv7(), company.id, 'Équipe ' || t from company, generate_series(1, company.teams) t
  returning id, company_id, name),
member as (
  select id, company_id, substring(email from '^person\\.(\\d+)@')::int as n from made_users),
team as (
  select t.id, t.company_id, substring(t.name from '\\d+')::int as n, company.teams as count
  from made_teams t join company on company.id = t.company_id),
made_memberships as (
  insert into user_teams (company_id, user_id, team_id)
  select m.company_id, m.id, t.id from member m join team t on t.company_id = m.company_id
    and (m.n % t.count = t.n - 1 or (m.n % 4 = 0 and (m.n + 7) % t.count = t.n - 1)))
insert into team_managers (company_id, team_id, user_id)
select t.company_id, t.id, m.id from team t join member m on m.company_id = t.company_id and m.n = 1 + t.n`;

/** People of the first company who sign in: the first thousand, and whoever has a seat. */
const LOGINS = [
  ...Array.from({ length: 1_000 }, (_, n) => emailOf(1, n + 1)),
  ...Array.from({ length: MEMBERS }, (_, n) => memberEmail(n)),
];

/** A hash takes 9 ms: only whoever signs in gets one. */
async function setPasswords(client: pg.Client, emails: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ secret: Buffer }>('select secret from login_secret');
  const hashes = await Promise.all(
    emails.map(email => {
      const salt = createHash('sha256').update(rows[0]!.secret).update(email).digest().subarray(0, 16);
      return hash(PASSWORD, { ...ARGON2, salt });
    }),
  );
  await client.query(
    'update users set password_hash = hash from unnest($1::text[], $2::text[]) as login(address, hash) where email = address',
    [emails, hashes],
  );
}

/** Fills an empty database of users, with the application's own tables: a company of 2,000 people in 20 teams, and five small ones. */
export async function seed(url: string): Promise<void> {
  const sequelize = new Sequelize(url, { dialect: 'postgres', dialectModule: pg, logging: false });
  await migrate(url, sequelize, allMigrations(usersDomain)).finally(() => sequelize.close());
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    // Foreign keys are looked at when the statement is over: one statement can fill all tables.
    await client.query(SEED, ['nobody signs in with it', PEOPLE, SMALL_PEOPLE, TEAMS, SMALL_COMPANIES]);
    await setPasswords(client, [...new Set([...LOGINS, emailOf(2, 1)])]);
    await client.query('vacuum (freeze, analyze) companies, users, teams, user_teams, team_managers');
  } finally {
    await client.end();
  }
}
