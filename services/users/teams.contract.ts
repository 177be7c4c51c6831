import * as z from 'zod';
import { contract } from '../../mixins/contract';
import { problems } from '../../mixins/errors';
import { event } from '../../mixins/events/event';
import { Id, Instant, line, Version } from '../../mixins/fields';
import { pageOf, pageParams } from '../../mixins/pagination';

export const teamsProblems = problems({
  TEAMS_NOT_FOUND: [404, 'There is no such team.'],
  TEAMS_NAME_TAKEN: [409, 'There is a team of that name already.'],
  TEAMS_MANAGER_UNKNOWN: [422, 'There is no such person to manage the team.'],
});

/** A team. A MANAGER manages the teams that name them, and those they belong to. */
export const Team = z
  .object({
    id: Id,
    name: z.string().max(100),
    managerIds: z.array(Id).max(100),
    createdAt: Instant,
    updatedAt: Instant,
    version: Version,
  })
  .meta({ id: 'Team' });
export type Team = z.infer<typeof Team>;

export const TeamName = line(100).meta({ examples: ['Night shift'] });
const ManagerIds = z.array(Id).max(100, 'must have at most 100 managers');

export const listTeams = contract('teams.list', {
  params: pageParams({ sorts: ['name', 'createdAt'], filters: { search: line(100).optional() } }),
  returns: pageOf(Team),
});

export const getTeam = contract('teams.get', {
  params: z.strictObject({ id: Id }),
  returns: Team,
  problems: [teamsProblems.TEAMS_NOT_FOUND],
});

export const createTeam = contract('teams.create', {
  params: z.strictObject({ name: TeamName, managerIds: ManagerIds.optional() }),
  returns: Team,
  problems: [teamsProblems.TEAMS_NAME_TAKEN, teamsProblems.TEAMS_MANAGER_UNKNOWN],
});

export const updateTeam = contract('teams.update', {
  params: z.strictObject({ id: Id, name: TeamName.optional(), managerIds: ManagerIds.optional() }),
  returns: Team,
  problems: [teamsProblems.TEAMS_NOT_FOUND, teamsProblems.TEAMS_NAME_TAKEN, teamsProblems.TEAMS_MANAGER_UNKNOWN],
});

/** The whole public state of a team, as other services keep it. */
export const TeamState = z.object({
  id: Id,
  companyId: Id,
  name: z.string(),
  managerIds: z.array(Id),
  version: Version,
});
export type TeamState = z.infer<typeof TeamState>;

export const teamCreated = event('teams.create', { kind: 'state', data: TeamState });
export const teamUpdated = event('teams.update', { kind: 'state', data: TeamState });
