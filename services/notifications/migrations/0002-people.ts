import { migration } from '../../../mixins/db/migrations';

export default migration(
  '0002-people',
  `
  -- What this domain needs of people, teams and companies, as the users domain tells of them. No foreign keys: facts
  -- about one may arrive before the other. A removed row stays, so that nothing brings it back.
  create table user_infos (
    id uuid primary key,
    company_id uuid not null,
    first_name text not null,
    last_name text not null,
    email text not null,
    role text not null,
    status text not null,
    team_ids uuid[] not null,
    time_zone text not null,
    locale text not null,
    version integer not null,
    removed_at timestamptz(3)
  );
  create index user_infos_company_idx on user_infos (company_id, id);

  create table team_infos (
    id uuid primary key,
    company_id uuid not null,
    name text not null,
    manager_ids uuid[] not null,
    version integer not null,
    removed_at timestamptz(3)
  );
  create index team_infos_company_idx on team_infos (company_id, id);

  create table company_infos (
    id uuid primary key,
    company_id uuid not null,
    name text not null,
    time_zone text not null,
    locale text not null,
    version integer not null,
    removed_at timestamptz(3)
  );
  `,
);
