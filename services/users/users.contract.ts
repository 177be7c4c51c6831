import * as z from 'zod';
import { contract, Role } from '../../mixins/contract';
import { problems } from '../../mixins/errors';
import { event } from '../../mixins/events/event';
import { Day, Email, Id, Instant, Locale, line, Phone, PictureUrl, TimeZone, Version } from '../../mixins/fields';
import { pageOf, pageParams } from '../../mixins/pagination';

export const usersProblems = problems({
  USERS_NOT_FOUND: [404, 'There is no such person.'],
  USERS_EMAIL_TAKEN: [409, 'Somebody in this company has that e-mail address already.'],
  USERS_LAST_ADMIN: [409, 'The last active administrator cannot go.'],
  USERS_NOT_ACTIVE: [409, 'This person has not accepted the invitation yet.'],
  USERS_TEAM_UNKNOWN: [422, 'There is no such team.'],
  IMPORT_NOT_UTF8: [422, 'The file is not UTF-8.'],
  IMPORT_NO_HEADER: [422, 'The file has no header line.'],
  IMPORT_INVALID: [422, 'The file has rows that are not as they should be; nothing was imported.'],
});

export const USER_STATUSES = ['INVITED', 'ACTIVE', 'DEACTIVATED'] as const;
export const UserStatus = z.enum(USER_STATUSES);
export type UserStatus = z.infer<typeof UserStatus>;

export const TeamRef = z.object({ id: Id, name: z.string().max(100) }).meta({ id: 'TeamRef' });

/** A person, to oneself, to an ADMIN, and to a MANAGER of one of their teams. */
export const User = z
  .object({
    id: Id,
    firstName: z.string().max(100),
    lastName: z.string().max(100),
    email: z.string().max(254),
    role: Role,
    status: UserStatus,
    teams: z.array(TeamRef).max(100),
    pictureUrl: z.string().max(2_048).nullable(),
    phone: z.string().max(32).nullable(),
    timeZone: z.string().max(64),
    locale: Locale,
    startsOn: Day.nullable(),
    createdAt: Instant,
    updatedAt: Instant,
    version: Version,
  })
  .meta({ id: 'User' });
export type User = z.infer<typeof User>;

/** A person, to everybody else in the company. */
export const Colleague = z
  .object({
    id: Id,
    firstName: z.string().max(100),
    lastName: z.string().max(100),
    teams: z.array(TeamRef).max(100),
    pictureUrl: z.string().max(2_048).nullable(),
  })
  .meta({ id: 'Colleague' });

export type Colleague = z.infer<typeof Colleague>;

export const UserOrColleague = z.union([User, Colleague]);

export const FirstName = line(100).meta({ examples: ['Camille'] });
export const LastName = line(100).meta({ examples: ['Moreau'] });
const TeamIds = z.array(Id).max(100, 'must have at most 100 teams');

const NewUser = z.strictObject({
  firstName: FirstName,
  lastName: LastName,
  email: Email,
  role: Role,
  teamIds: TeamIds.optional(),
  timeZone: TimeZone.optional(),
  locale: Locale.optional(),
  startsOn: Day.nullable().optional(),
  phone: Phone.nullable().optional(),
});

export const getMe = contract('users.getMe', { params: z.strictObject({}), returns: User });

export const updateMe = contract('users.updateMe', {
  params: z.strictObject({
    firstName: FirstName.optional(),
    lastName: LastName.optional(),
    pictureUrl: PictureUrl.nullable().optional(),
    phone: Phone.nullable().optional(),
    locale: Locale.optional(),
    timeZone: TimeZone.optional(),
  }),
  returns: User,
});

export const USER_SORTS = ['lastName', 'firstName', 'email', 'createdAt'] as const;

export const listUsers = contract('users.list', {
  params: pageParams({
    sorts: USER_SORTS,
    filters: { search: line(100).optional(), role: Role.optional(), teamId: Id.optional(), status: UserStatus.optional() },
  }),
  returns: pageOf(UserOrColleague),
});

export const getUser = contract('users.get', {
  params: z.strictObject({ id: Id }),
  returns: UserOrColleague,
  problems: [usersProblems.USERS_NOT_FOUND],
});

export const createUser = contract('users.create', {
  params: NewUser,
  returns: User,
  problems: [usersProblems.USERS_EMAIL_TAKEN, usersProblems.USERS_TEAM_UNKNOWN],
});

export const updateUser = contract('users.update', {
  params: NewUser.partial().extend({ id: Id }),
  returns: User,
  problems: [
    usersProblems.USERS_NOT_FOUND,
    usersProblems.USERS_EMAIL_TAKEN,
    usersProblems.USERS_TEAM_UNKNOWN,
    usersProblems.USERS_LAST_ADMIN,
  ],
});

export const deactivateUser = contract('users.deactivate', {
  params: z.strictObject({ id: Id }),
  returns: User,
  problems: [usersProblems.USERS_NOT_FOUND, usersProblems.USERS_LAST_ADMIN],
});

export const reactivateUser = contract('users.reactivate', {
  params: z.strictObject({ id: Id }),
  returns: User,
  problems: [usersProblems.USERS_NOT_FOUND],
});

const IMPORT_EXAMPLE = 'firstName,lastName,email,team\nCamille,Moreau,camille.moreau@example.com,Night shift\n';

/** Query parameters are texts; only these two words are a boolean. */
const Flag = z
  .stringbool({ truthy: ['true'], falsy: ['false'], case: 'sensitive', error: 'must be true or false' })
  .meta({ enum: ['true', 'false'] });

export const importUsers = contract('users.import', {
  params: z.strictObject({ csv: z.instanceof(Buffer).meta({ examples: [IMPORT_EXAMPLE] }), dryRun: Flag.optional() }),
  returns: z.union([
    z.object({ imported: z.int(), teamsCreated: z.int() }).meta({ id: 'Imported' }),
    z.object({ valid: z.int(), teamsToCreate: z.array(z.string().max(100)).max(10_000) }).meta({ id: 'ImportDryRun' }),
  ]),
  problems: [usersProblems.IMPORT_NOT_UTF8, usersProblems.IMPORT_NO_HEADER, usersProblems.IMPORT_INVALID],
});

/** A secret on its way to a mail: sealed for the services that hold the key, opened only while sending. */
export const SealedLink = z.object({ sealed: z.string().max(1_000), expiresAt: Instant });

/** The whole public state of a person, as other services keep it. */
export const UserState = z.object({
  id: Id,
  companyId: Id,
  firstName: z.string(),
  lastName: z.string(),
  email: z.string(),
  role: Role,
  status: UserStatus,
  teamIds: z.array(Id),
  pictureUrl: z.string().nullable(),
  phone: z.string().nullable(),
  timeZone: z.string(),
  locale: Locale,
  startsOn: Day.nullable(),
  version: Version,
});
export type UserState = z.infer<typeof UserState>;

/** Somebody was invited or imported (with an invite) or signed up a company (without). */
export const userCreated = event('users.create', {
  kind: 'state',
  data: UserState.extend({ invite: SealedLink.nullish() }),
});

export const userUpdated = event('users.update', { kind: 'state', data: UserState });

/** Sessions that no service may accept any more. `until`: when the last access token of theirs has expired. */
export const sessionsEnded = event('sessions.ended', {
  kind: 'fact',
  data: z.object({ userId: Id, companyId: Id, sids: z.array(Id).min(1), until: Instant }),
  key: data => data.userId,
  // A session ends once: that tells apart what one person's sessions ended by.
  subject: data => data.sids[0] ?? data.userId,
  company: data => data.companyId,
  version: () => 0,
});
