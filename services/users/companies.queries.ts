import { statement } from '../../mixins/db/statement';
import type { Company } from './companies.contract';

/** Of a company, for its answer and for what others are told. */
export const COMPANY_COLUMNS = `id, name, time_zone as "timeZone", locale, working_week as "workingWeek",
  created_at as "createdAt", updated_at as "updatedAt", version`;

/** The company of whoever is signed in; it is always there. */
export const getCompany = statement<{ companyId: string }, Company>(
  'companies.get',
  `select ${COMPANY_COLUMNS} from companies where id = $companyId`,
);

/**
 * Locks the company against changes that count its people: two administrators who demote each other at once take
 * turns here, and the second finds that they would be the last.
 */
export const lockCompany = statement<{ companyId: string }, Company>(
  'companies.lock',
  `select ${COMPANY_COLUMNS} from companies where id = $companyId for no key update`,
);
