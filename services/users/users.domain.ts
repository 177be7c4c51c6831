import { purgeLoginFailures, throttleMigration } from '../../mixins/auth/throttle';
import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { authProblems } from './auth.contract';
import companiesPeopleTeams from './migrations/0001-companies-people-teams';
import sessionsLinks from './migrations/0002-sessions-links';
import { sessionPurges } from './sessions.queries';
import { teamsProblems } from './teams.contract';
import { usersProblems } from './users.contract';

/** The users domain: who there is, in which company and team, and how they prove it. */
export const usersDomain: DomainDatabase = {
  name: 'users',
  migrations: [companiesPeopleTeams, sessionsLinks, throttleMigration],
  purges: [purgeLoginFailures, ...sessionPurges],
  constraints: {
    users_company_email_key: usersProblems.USERS_EMAIL_TAKEN,
    users_verified_email_key: authProblems.AUTH_EMAIL_TAKEN,
    teams_company_name_key: teamsProblems.TEAMS_NAME_TAKEN,
  },
};
