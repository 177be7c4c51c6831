import { migration } from '../../../mixins/db/migrations';

export default migration(
  '0001-companies-people-teams',
  `
  create table companies (
    id uuid primary key,
    name text not null check (char_length(name) between 1 and 100),
    time_zone text not null,
    locale text not null check (locale in ('en', 'fr')),
    working_week smallint[] not null default '{1,2,3,4,5}',
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now(),
    version integer not null default 1
  );

  create table users (
    id uuid primary key,
    company_id uuid not null references companies (id),
    first_name text not null,
    last_name text not null,
    email text not null,
    email_verified_at timestamptz(3),
    password_hash text,
    role text not null check (role in ('ADMIN', 'MANAGER', 'EMPLOYEE')),
    status text not null check (status in ('INVITED', 'ACTIVE', 'DEACTIVATED')),
    picture_url text,
    phone text,
    time_zone text not null,
    locale text not null check (locale in ('en', 'fr')),
    starts_on date,
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now(),
    version integer not null default 1,
    -- Both orders of the name, so that "moreau camille" is found as well as "camille moreau".
    search_name text not null generated always as (search_fold(first_name || ' ' || last_name || ' ' || first_name)) stored,
    search_text text not null generated always as
      (search_fold(first_name || ' ' || last_name || ' ' || first_name || ' ' || email)) stored,
    unique (company_id, id),
    constraint users_active_has_password check (status <> 'ACTIVE' or password_hash is not null)
  );
  -- An invitation or an unverified sign-up reserves its address in its own company only.
  create unique index users_company_email_key on users (company_id, lower(email));
  create unique index users_verified_email_key on users (lower(email)) where email_verified_at is not null;
  create index users_login_idx on users (lower(email), password_hash) where password_hash is not null;
  create index users_company_name_idx on users (company_id, last_name, first_name, id);
  create index users_company_created_idx on users (company_id, created_at, id);
  create index users_admins_idx on users (company_id) where role = 'ADMIN' and status = 'ACTIVE';
  create index users_search_name_idx on users using gin (search_name gin_trgm_ops);
  create index users_search_text_idx on users using gin (search_text gin_trgm_ops);

  create table teams (
    id uuid primary key,
    company_id uuid not null references companies (id),
    name text not null,
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now(),
    version integer not null default 1,
    unique (company_id, id)
  );
  create unique index teams_company_name_key on teams (company_id, lower(name));

  create table user_teams (
    company_id uuid not null,
    user_id uuid not null,
    team_id uuid not null,
    primary key (company_id, user_id, team_id),
    foreign key (company_id, user_id) references users (company_id, id),
    foreign key (company_id, team_id) references teams (company_id, id)
  );
  create index user_teams_team_idx on user_teams (company_id, team_id, user_id);

  create table team_managers (
    company_id uuid not null,
    team_id uuid not null,
    user_id uuid not null,
    primary key (company_id, team_id, user_id),
    foreign key (company_id, user_id) references users (company_id, id),
    foreign key (company_id, team_id) references teams (company_id, id)
  );
  create index team_managers_user_idx on team_managers (company_id, user_id, team_id);
  `,
);
