import { companyInfos, teamInfos, userInfos } from '../../mixins/replica/tables';
import { companyCreated, companyUpdated } from './companies.contract';
import { teamCreated, teamUpdated } from './teams.contract';
import { sessionsEnded, userCreated, userUpdated } from './users.contract';

/** What every other domain keeps a copy of: people, teams and companies, and which sessions have ended. */
export const usersReplica = {
  people: [userCreated, userUpdated],
  teams: [teamCreated, teamUpdated],
  companies: [companyCreated, companyUpdated],
  endedSessions: [sessionsEnded],
};

/** Where those copies are, by the names under which the users domain owns what they are of. */
export const usersCopies = {
  owner: 'users',
  tables: { people: userInfos, teams: teamInfos, companies: companyInfos },
} as const;
