import { type Migration, migration } from '../db/migrations';

/** People, teams and companies as another service keeps them. `removedAt`: gone for good, and nothing brings it back. */
export const replicaMigrations: readonly Migration[] = [
  migration(
    'replica-0001-people-teams-companies',
    `
    -- Copies of what the users domain owns, fed by its events. They arrive in any order: nothing here refers to
    -- anything. A removed row keeps its id and version and loses the rest.
    create table user_infos (
      id uuid primary key,
      company_id uuid not null,
      first_name text not null default '',
      last_name text not null default '',
      email text not null default '',
      role text not null default 'EMPLOYEE',
      status text not null default 'DEACTIVATED',
      team_ids uuid[] not null default '{}',
      picture_url text,
      phone text,
      time_zone text not null default 'UTC',
      locale text not null default 'en',
      starts_on date,
      version integer not null,
      removed_at timestamptz(3)
    );
    create index user_infos_company_idx on user_infos (company_id, last_name, first_name);
    create index user_infos_teams_idx on user_infos using gin (team_ids);

    create table team_infos (
      id uuid primary key,
      company_id uuid not null,
      name text not null default '',
      manager_ids uuid[] not null default '{}',
      version integer not null,
      removed_at timestamptz(3)
    );
    create index team_infos_company_idx on team_infos (company_id, name);

    create table company_infos (
      id uuid primary key,
      company_id uuid not null,
      name text not null default '',
      time_zone text not null default 'UTC',
      locale text not null default 'en',
      working_week integer[] not null default '{}',
      version integer not null,
      removed_at timestamptz(3)
    );
    `,
  ),
];

/** What every replica keeps of an aggregate. */
interface Aggregate {
  id: string;
  companyId: string;
  version: number;
}

/** A person, as `users.create` and `users.update` tell it. */
export interface PersonState extends Aggregate {
  firstName: string;
  lastName: string;
  email: string;
  role: string;
  status: string;
  teamIds: string[];
  pictureUrl: string | null;
  phone: string | null;
  timeZone: string;
  locale: string;
  startsOn: string | null;
}

/** A team, as `teams.create` and `teams.update` tell it. */
export interface TeamState extends Aggregate {
  name: string;
  managerIds: string[];
}

/** A company, as `companies.create` and `companies.update` tell it. */
export interface CompanyState extends Aggregate {
  name: string;
  timeZone: string;
  locale: string;
  workingWeek: number[];
}

/** A table that keeps copies of aggregates: its name, and the PostgreSQL type of each field of the state. */
export interface ReplicaTable<State extends Aggregate> {
  readonly name: string;
  readonly columns: { readonly [Field in keyof State]-?: string };
}

export const userInfos: ReplicaTable<PersonState> = {
  name: 'user_infos',
  columns: {
    id: 'uuid',
    companyId: 'uuid',
    firstName: 'text',
    lastName: 'text',
    email: 'text',
    role: 'text',
    status: 'text',
    teamIds: 'uuid[]',
    pictureUrl: 'text',
    phone: 'text',
    timeZone: 'text',
    locale: 'text',
    startsOn: 'date',
    version: 'integer',
  },
};

export const teamInfos: ReplicaTable<TeamState> = {
  name: 'team_infos',
  columns: { id: 'uuid', companyId: 'uuid', name: 'text', managerIds: 'uuid[]', version: 'integer' },
};

export const companyInfos: ReplicaTable<CompanyState> = {
  name: 'company_infos',
  columns: {
    id: 'uuid',
    companyId: 'uuid',
    name: 'text',
    timeZone: 'text',
    locale: 'text',
    workingWeek: 'integer[]',
    version: 'integer',
  },
};

/** `firstName` -> `first_name`. */
export function columnOf(field: string): string {
  return field.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
}
