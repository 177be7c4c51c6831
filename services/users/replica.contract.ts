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
