import { audit } from '../../mixins/audit';
import type { CommandContext } from '../../mixins/contract';
import type { Database } from '../../mixins/db/database';
import { statement } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import { logged } from '../../mixins/operators/operator-log';
import { endSessionsOfUser, type FoundPerson, showUser } from './operators.contract';
import { closeSessionsOf } from './sessions';
import { usersProblems } from './users.contract';

// At most a hundred: an address is of a few companies, and whatever answers is to stay small.
const findPeople = statement<{ id: string | undefined; email: string | undefined }, FoundPerson>(
  'support.findPeople',
  `select u.id, u.company_id as "companyId", c.name as "companyName", u.first_name as "firstName", u.last_name as "lastName",
     u.email, u.role, u.status,
     coalesce((
       select json_agg(t.name order by t.name)
       from user_teams ut join teams t on t.company_id = ut.company_id and t.id = ut.team_id
       where ut.company_id = u.company_id and ut.user_id = u.id), '[]') as teams,
     (select count(*) from sessions s
      where s.company_id = u.company_id and s.user_id = u.id and s.ended_at is null
        and exists (select from refresh_tokens r where r.session_id = s.id and r.spent_at is null and r.expires_at > now())
     ) as "liveSessions",
     (select max(s.created_at) from sessions s where s.company_id = u.company_id and s.user_id = u.id) as "lastSignInAt"
   from users u join companies c on c.id = u.company_id
   where u.id = $id::uuid or lower(u.email) = lower($email::text)
   order by u.created_at, u.id limit 100`,
);

/** Shows an operator whoever has an address; each company's audit says that they looked. */
export async function showPeople(db: Database, ctx: CommandContext, { operator, email }: { operator: string; email: string }) {
  // Not the address: it would outlive the person's erasure.
  return logged(db, { operator, command: showUser.name }, () =>
    db.inTransaction(ctx, async tx => {
      const people = await findPeople.all(tx, { id: undefined, email });
      for (const person of people) await noteOperator(tx, showUser.name, person, { operator });
      return { people };
    }),
  );
}

/**
 * Ends every session of a person, or of all people with an address.
 * @throws USERS_NOT_FOUND
 */
export async function endSessionsFor(db: Database, ctx: CommandContext, { operator, user }: { operator: string; user: string }) {
  const id = user.includes('@') ? undefined : user;
  return logged(db, { operator, command: endSessionsOfUser.name, arguments: { id } }, () =>
    db.inTransaction(ctx, async tx => {
      const found = await findPeople.all(tx, id ? { id, email: undefined } : { id: undefined, email: user });
      if (found.length === 0) throw usersProblems.USERS_NOT_FOUND();
      const people: (FoundPerson & { ended: number })[] = [];
      for (const person of found) {
        const ended = await closeSessionsOf(tx, { companyId: person.companyId, userId: person.id });
        await noteOperator(tx, endSessionsOfUser.name, person, { operator, ended });
        people.push({ ...person, liveSessions: 0, ended });
      }
      return { people };
    }),
  );
}

/** Nobody of the company is behind it: the row names no person, and the operator in its state. */
function noteOperator(tx: Transaction, action: string, { id, companyId }: FoundPerson, after: object): Promise<void> {
  return audit(tx, { action, subjectType: 'user', subjectId: id, after, by: { companyId } });
}
