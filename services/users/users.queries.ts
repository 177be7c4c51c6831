import type { Identity, Role } from '../../mixins/contract';
import { type Queryable, type Statement, statement } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import { type Listing, listing } from '../../mixins/pagination';
import { usersProblems } from './users.contract';
import type { Person } from './users.model';

const PERSON = `
  u.id, u.company_id as "companyId", u.first_name as "firstName", u.last_name as "lastName", u.email, u.role, u.status,
  u.picture_url as "pictureUrl", u.phone, u.time_zone as "timeZone", u.locale, u.starts_on as "startsOn",
  u.created_at as "createdAt", u.updated_at as "updatedAt", u.version,
  coalesce((
    select json_agg(json_build_object('id', t.id, 'name', t.name) order by t.name, t.id)
    from user_teams ut join teams t on t.company_id = ut.company_id and t.id = ut.team_id
    where ut.company_id = u.company_id and ut.user_id = u.id
  ), '[]') as teams`;

/** A MANAGER manages the teams that name them, and those they belong to. */
const MANAGED_TEAMS = `
  select tm.team_id from team_managers tm where tm.company_id = $companyId and tm.user_id = $me
  union select ut.team_id from user_teams ut where ut.company_id = $companyId and ut.user_id = $me`;

/** Whom a role sees whole; everybody else is a colleague to them. */
const VISIBLE: Record<Role, string> = {
  ADMIN: 'true',
  MANAGER: `u.id = $me or u.id in (
    select ut.user_id from user_teams ut where ut.company_id = $companyId and ut.team_id in (${MANAGED_TEAMS}))`,
  EMPLOYEE: 'u.id = $me',
};

type VisiblePerson = Person & { isVisible: boolean };

const forRole = <T>(make: (role: Role, visible: string) => T): Record<Role, T> => ({
  ADMIN: make('ADMIN', VISIBLE.ADMIN),
  MANAGER: make('MANAGER', `(${VISIBLE.MANAGER})`),
  EMPLOYEE: make('EMPLOYEE', `(${VISIBLE.EMPLOYEE})`),
});

/**
 * The company's people as a role sees them. What somebody may not read, they can neither filter, search nor sort by:
 * to such a condition a colleague does not match, and to such an order a colleague has no value.
 */
export const listPeople: Record<Role, Listing<VisiblePerson>> = forRole((role, visible) =>
  listing({
    name: `users.list.${role}`,
    columns: `${PERSON}, ${visible} as "isVisible"`,
    from: 'users u',
    where: 'u.company_id = $companyId',
    filters: {
      pattern:
        role === 'ADMIN'
          ? 'u.search_text like (select search_fold($pattern))'
          : `u.search_name like (select search_fold($pattern)) or (${visible} and u.search_text like (select search_fold($pattern)))`,
      role: `${visible} and u.role = $role`,
      status: `${visible} and u.status = $status`,
      teamId:
        'exists (select from user_teams ut where ut.company_id = $companyId and ut.user_id = u.id and ut.team_id = $teamId)',
    },
    sorts: {
      lastName: 'u.last_name',
      firstName: 'u.first_name',
      email: role === 'ADMIN' ? 'u.email' : `case when ${visible} then u.email end`,
      createdAt: role === 'ADMIN' ? 'u.created_at' : `case when ${visible} then u.created_at end`,
    },
    defaultSort: 'lastName,firstName',
    tieBreaker: 'u.id',
  }),
);

const findVisiblePerson: Record<Role, Statement<{ companyId: string; me: string; id: string }, VisiblePerson>> = forRole(
  (role, visible) =>
    statement(
      `users.find.${role}`,
      `select ${PERSON}, ${visible} as "isVisible" from users u where u.company_id = $companyId and u.id = $id`,
    ),
);

/** One person as the caller sees them. */
export async function getVisiblePerson(on: Queryable, caller: Identity, id: string): Promise<VisiblePerson> {
  const person = await findVisiblePerson[caller.role].maybe(on, { companyId: caller.companyId, me: caller.id, id });
  if (!person) throw usersProblems.USERS_NOT_FOUND();
  return person;
}

const findPerson = statement<{ companyId: string; id: string }, Person>(
  'users.findPerson',
  `select ${PERSON} from users u where u.company_id = $companyId and u.id = $id`,
);

/** One person, whole: for commands that decide by role before they come here. */
export async function getPerson(on: Queryable, companyId: string, id: string): Promise<Person> {
  const person = await findPerson.maybe(on, { companyId, id });
  if (!person) throw usersProblems.USERS_NOT_FOUND();
  return person;
}

const lockUser = statement<{ companyId: string; id: string }, { id: string }>(
  'users.lock',
  'select id from users where company_id = $companyId and id = $id for no key update',
);

/** One person, held against other changes until the transaction ends. */
export async function lockPerson(tx: Transaction, companyId: string, id: string): Promise<Person> {
  // Two statements: teams that changed while the lock was awaited are in the snapshot of the second only.
  if (!(await lockUser.maybe(tx, { companyId, id }))) throw usersProblems.USERS_NOT_FOUND();
  return getPerson(tx, companyId, id);
}

/** Active administrators other than the given person. */
export const countOtherAdmins = statement<{ companyId: string; id: string }, { count: number }>(
  'users.countOtherAdmins',
  `select count(*)::int as count from users
   where company_id = $companyId and id <> $id and role = 'ADMIN' and status = 'ACTIVE'`,
);

/** Every person of the company with one of these addresses. */
export const listByEmails = statement<{ companyId: string; emails: string[] }, { email: string }>(
  'users.listByEmails',
  'select lower(email) as email from users where company_id = $companyId and lower(email) = any($emails::text[])',
);

/** Which of these people exist in the company. */
export const listExistingUsers = statement<{ companyId: string; ids: string[] }, { id: string }>(
  'users.listExisting',
  'select id from users where company_id = $companyId and id = any($ids::uuid[]) for key share',
);

/** Lets a deactivated person in again: as they were before they accepted or after. */
export const reactivatePerson = statement<{ companyId: string; id: string }, { id: string }>(
  'users.reactivate',
  `update users set status = case when password_hash is null then 'INVITED' else 'ACTIVE' end,
     version = version + 1, updated_at = now()
   where company_id = $companyId and id = $id returning id`,
);

/** These people, whole and in the order of their ids, of whichever company. */
export const listPeopleById = statement<{ ids: string[] }, Person>(
  'users.listById',
  `select ${PERSON} from users u where u.id = any($ids::uuid[]) order by u.id`,
);
