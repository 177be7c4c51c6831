import { v7 as uuidv7 } from 'uuid';
import type * as z from 'zod';
import { audit } from '../../mixins/audit';
import type { Transaction } from '../../mixins/db/transaction';
import { record } from '../../mixins/events/record';
import type { signUp } from './auth.contract';
import { type Company, companyCreated } from './companies.contract';
import { companies } from './companies.model';
import { getCompany } from './companies.queries';
import { userCreated } from './users.contract';
import { type Person, toUserState, users } from './users.model';
import { getPerson } from './users.queries';

/** Makes a company with its first administrator. */
export async function foundCompany(
  tx: Transaction,
  { company, user }: z.output<typeof signUp.params>,
  passwordHash: string,
): Promise<{ company: Company; person: Person }> {
  const companyId = uuidv7();
  const id = uuidv7();
  const { timeZone = 'UTC', locale = 'en', name } = company;
  await tx.insert(companies, { id: companyId, name, timeZone, locale });
  const { firstName, lastName, email } = user;
  await tx.insert(users, {
    id,
    companyId,
    firstName,
    lastName,
    email,
    timeZone,
    locale,
    passwordHash,
    role: 'ADMIN',
    status: 'ACTIVE',
  });

  const founded = await getCompany.one(tx, { companyId });
  const person = await getPerson(tx, companyId, id);
  await record(tx, companyCreated, { ...founded, companyId });
  await record(tx, userCreated, toUserState(person));
  const by = { companyId, userId: id };
  await audit(tx, { action: 'auth.signUp', subjectType: 'company', subjectId: companyId, before: null, after: founded, by });
  await audit(tx, { action: 'auth.signUp', subjectType: 'user', subjectId: id, before: null, after: person, by });
  return { company: founded, person };
}
