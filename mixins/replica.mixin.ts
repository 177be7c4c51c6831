import type { ServiceSchema } from 'moleculer';
import type * as z from 'zod';
import { endSessions } from './auth/ended-sessions';
import type { EventContract } from './events/event';
import type { Apply } from './events/handler';
import { peopleArrived } from './events/parking';
import { replicaHandler } from './events/replica-handler';
import { removeFrom, upsertInto } from './replica/apply';
import { type CompanyState, companyInfos, type PersonState, type TeamState, teamInfos, userInfos } from './replica/tables';

type Topics<State> = readonly EventContract<z.ZodType<State>>[];
type Removed = { id: string; companyId: string; version: number };
type Ended = { sids: string[]; until: string };

/** The topics that tell of people, teams and companies: contracts of the domain that owns them. */
export interface ReplicaTopics {
  people?: Topics<PersonState>;
  teams?: Topics<TeamState>;
  companies?: Topics<CompanyState>;
  /** Topics that tell of sessions whose tokens are to be refused. */
  endedSessions?: Topics<Ended>;
  /** Topics that tell of somebody or something being gone for good. */
  removed?: { people?: Topics<Removed>; teams?: Topics<Removed>; companies?: Topics<Removed> };
}

const upsertPeople = upsertInto(userInfos);

/** Reactions that waited for these people go on once the row can be seen. */
const takeInPeople: Apply<PersonState> = async (tx, envelopes) => {
  await upsertPeople(tx, envelopes);
  await peopleArrived(
    tx,
    envelopes.map(({ data }) => data.id),
  );
};

const endThem: Apply<Ended> = async (tx, envelopes) => {
  const isUseful = ({ until }: Ended) => Date.parse(until) > Date.now();
  for (const { sids, until } of envelopes.map(({ data }) => data).filter(isUseful)) await endSessions(tx, sids, until);
};

/**
 * Keeps a service's own copy of people, teams and companies in `user_infos`, `team_infos` and `company_infos`, which
 * `replicaMigrations` make, and refuses the tokens of sessions that ended. Only in one service of a domain.
 *
 * ```ts
 * mixins: [...domain(notificationsDomain, notifications), replica(usersReplica)],
 * ```
 */
export function replica({
  people = [],
  teams = [],
  companies = [],
  endedSessions = [],
  removed = {},
}: ReplicaTopics): Partial<ServiceSchema> {
  const follow = <State>(topics: Topics<State>, apply: Apply<State>) =>
    topics.map(topic => [topic.topic, replicaHandler(topic, apply)] as const);
  const events = Object.fromEntries([
    ...follow(people, takeInPeople),
    ...follow(teams, upsertInto(teamInfos)),
    ...follow(companies, upsertInto(companyInfos)),
    ...follow(endedSessions, endThem),
    ...follow(removed.people ?? [], removeFrom(userInfos)),
    ...follow(removed.teams ?? [], removeFrom(teamInfos)),
    ...follow(removed.companies ?? [], removeFrom(companyInfos)),
  ]);
  return { events } as unknown as Partial<ServiceSchema>;
}
