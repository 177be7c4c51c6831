import * as z from 'zod';
import { contract, Role } from '../../mixins/contract';
import { Email, Id, Instant } from '../../mixins/fields';
import { Operator } from '../../mixins/operators/operators.contract';
import { UserStatus, usersProblems } from './users.contract';

/** A person as operators see them, whichever company they are of. */
export const FoundPerson = z.object({
  id: Id,
  companyId: Id,
  companyName: z.string(),
  firstName: z.string(),
  lastName: z.string(),
  email: z.string(),
  role: Role,
  status: UserStatus,
  teams: z.array(z.string()),
  liveSessions: z.int(),
  /** When they last signed in, as far as sessions are kept: 32 days after their last use. */
  lastSignInAt: Instant.nullable(),
});
export type FoundPerson = z.infer<typeof FoundPerson>;

/** Whoever has an address, in every company: for operators. */
export const showUser = contract('users.show', {
  params: z.strictObject({ operator: Operator, email: Email }),
  returns: z.object({ people: z.array(FoundPerson) }),
});

/** Ends every session of a person, or of all people with an address: for operators. */
export const endSessionsOfUser = contract('auth.endSessions', {
  params: z.strictObject({ operator: Operator, user: z.union([Id, Email], 'must be a UUID or an e-mail address') }),
  returns: z.object({ people: z.array(FoundPerson.extend({ ended: z.int() })) }),
  problems: [usersProblems.USERS_NOT_FOUND],
});
