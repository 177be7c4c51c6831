import { DataTypes } from 'sequelize';
import type { Role } from '../../mixins/contract';
import { table } from '../../mixins/db/model';
import type { Locale } from '../../mixins/fields';
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

/** A person as the queries read them: what the API shows, and what decides about it. */
export type Person = User & { companyId: string };

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
