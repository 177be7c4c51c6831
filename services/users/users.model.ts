import { DataTypes } from 'sequelize';
import { v7 as uuidv7 } from 'uuid';
import type { Role } from '../../mixins/contract';
import { batch } from '../../mixins/db/batch';
import { table } from '../../mixins/db/model';
import type { Locale } from '../../mixins/fields';
import type { Company } from './companies.contract';
import type { Colleague, User, UserState, UserStatus } from './users.contract';

export interface UserRow {
  id: string;
  companyId: string;
  firstName: string;
  lastName: string;
  email: string;
  emailVerifiedAt?: string | null;
  passwordHash?: string | null;
  role: Role;
  status: UserStatus;
  pictureUrl?: string | null;
  phone?: string | null;
  timeZone: string;
  locale: Locale;
  startsOn?: string | null;
  version?: number;
  updatedAt?: string;
}

export const users = table<UserRow>(
  'users',
  {
    id: { type: DataTypes.UUID, primaryKey: true },
    companyId: DataTypes.UUID,
    firstName: DataTypes.TEXT,
    lastName: DataTypes.TEXT,
    email: DataTypes.TEXT,
    emailVerifiedAt: DataTypes.DATE,
    passwordHash: DataTypes.TEXT,
    role: DataTypes.TEXT,
    status: DataTypes.TEXT,
    pictureUrl: DataTypes.TEXT,
    phone: DataTypes.TEXT,
    timeZone: DataTypes.TEXT,
    locale: DataTypes.TEXT,
    startsOn: DataTypes.DATEONLY,
    version: { type: DataTypes.INTEGER, defaultValue: 1 },
    updatedAt: { type: DataTypes.DATE, defaultValue: DataTypes.NOW },
  },
  { versioned: true },
);

/** People who are made, whole; `createdAt` is both of their instants. */
export const newPeople = batch<Omit<Person, 'updatedAt' | 'teams' | 'version'>>(
  'users.new',
  `insert into users
     (id, company_id, first_name, last_name, email, role, status, phone, time_zone, locale, starts_on, created_at, updated_at)
   select id, "companyId", "firstName", "lastName", email, role, status, phone, "timeZone", locale, "startsOn", "createdAt", "createdAt"
   from jsonb_to_recordset($rows::jsonb) as person(
     id uuid, "companyId" uuid, "firstName" text, "lastName" text, email text, role text, status text, phone text,
     "timeZone" text, locale text, "startsOn" date, "createdAt" timestamptz)`,
);

export interface UserTeamRow {
  companyId: string;
  userId: string;
  teamId: string;
}

export const userTeams = table<UserTeamRow>('user_teams', {
  companyId: { type: DataTypes.UUID, primaryKey: true },
  userId: { type: DataTypes.UUID, primaryKey: true },
  teamId: { type: DataTypes.UUID, primaryKey: true },
});

/** Memberships of people who are made in the same transaction. */
export const newMemberships = batch<UserTeamRow>(
  'users.newMemberships',
  `insert into user_teams (company_id, user_id, team_id) select "companyId", "userId", "teamId"
   from jsonb_to_recordset($rows::jsonb) as membership("companyId" uuid, "userId" uuid, "teamId" uuid)`,
);

/** A person as the queries read them: what the API shows, and what decides about it. */
export type Person = User & { companyId: string };

/** Somebody to invite. */
type Invitee = Pick<Person, 'firstName' | 'lastName' | 'email' | 'role' | 'teams'> &
  Partial<Pick<Person, 'phone' | 'startsOn' | 'timeZone' | 'locale'>>;

/** A person to be made, with the company's time zone and language where they have none of their own. */
export function toInvited({ id: companyId, timeZone, locale }: Company, invitee: Invitee): Person {
  const now = new Date().toISOString();
  return {
    timeZone,
    locale,
    phone: null,
    startsOn: null,
    ...invitee,
    id: uuidv7(),
    companyId,
    status: 'INVITED',
    pictureUrl: null,
    createdAt: now,
    updatedAt: now,
    version: 1,
  };
}

/** What other services are told of a person. */
export function toUserState(person: Person): UserState {
  return { ...person, teamIds: person.teams.map(team => team.id) };
}

/** A person as somebody sees them: whole, or as a colleague. */
export function toVisible(person: Person & { isVisible: boolean }): User | Colleague {
  if (person.isVisible) return person;
  const { id, firstName, lastName, teams, pictureUrl } = person;
  return { id, firstName, lastName, teams, pictureUrl };
}
