import { statement } from '../../mixins/db/statement';
import type { Company } from './companies.contract';

const COLUMNS = `id, name, time_zone as "timeZone", locale, working_week as "workingWeek",
  created_at as "createdAt", updated_at as "updatedAt", version`;

/** The company of whoever is signed in; it is always there. */
export const getCompany = statement<{ companyId: string }, Company>(
  'companies.get',
  `select ${COLUMNS} from companies where id = $companyId`,
);

/**
 * Locks the company against changes that count its people: two administrators who demote each other at once take
 * turns here, and the second finds that they would be the last.
 */
export const lockCompany = statement<{ companyId: string }, Company>(
  'companies.lock',
  `select ${COLUMNS} from companies where id = $companyId for no key update`,
);

/** Companies in the order of their ids, from behind the one given. */
export const pageOfCompanies = statement<{ after: string | undefined; limit: number }, Company>(
  'companies.page',
  `select ${COLUMNS} from companies where $after::uuid is null or id > $after order by id limit $limit`,
);

/** The same, held against changes until the transaction ends. */
export const lockPageOfCompanies = statement<{ after: string | undefined; limit: number }, Company>(
  'companies.lockPage',
  `select ${COLUMNS} from companies where $after::uuid is null or id > $after order by id limit $limit for no key update`,
);

export const raiseCompanyVersions = statement<{ ids: readonly string[]; by: number }>(
  'companies.raiseVersions',
  'update companies set version = version + $by where id = any($ids::uuid[])',
);
