import * as z from 'zod';
import { contract } from '../../mixins/contract';
import { event } from '../../mixins/events/event';
import { Id, Instant, Locale, line, TimeZone, Version } from '../../mixins/fields';

export const CompanyName = line(100).meta({ examples: ['Atelier Lumière'] });

/** Working days by ISO 8601 number: 1 is Monday, 7 Sunday. */
export const WorkingWeek = z
  .array(z.int().min(1, 'must be 1 (Monday) to 7 (Sunday)').max(7, 'must be 1 (Monday) to 7 (Sunday)'))
  .min(1, 'must name at least one day')
  .max(7, 'must name each day once')
  .refine(days => new Set(days).size === days.length, 'must name each day once')
  .transform(days => days.toSorted((a, b) => a - b))
  .meta({ examples: [[1, 2, 3, 4, 5]] });

export const Company = z
  .object({
    id: Id,
    name: z.string().max(100),
    timeZone: z.string().max(64),
    locale: Locale,
    workingWeek: z.array(z.int()).max(7),
    createdAt: Instant,
    updatedAt: Instant,
    version: Version,
  })
  .meta({ id: 'Company' });
export type Company = z.infer<typeof Company>;

export const getCurrentCompany = contract('companies.getCurrent', { params: z.strictObject({}), returns: Company });

export const updateCurrentCompany = contract('companies.updateCurrent', {
  params: z.strictObject({
    name: CompanyName.optional(),
    timeZone: TimeZone.optional(),
    locale: Locale.optional(),
    workingWeek: WorkingWeek.optional(),
  }),
  returns: Company,
});

/** The whole public state of a company, as other services keep it; `companyId` is its own id. */
export const CompanyState = z.object({
  id: Id,
  companyId: Id,
  name: z.string(),
  timeZone: z.string(),
  locale: Locale,
  workingWeek: z.array(z.int()),
  version: Version,
});
export type CompanyState = z.infer<typeof CompanyState>;

export const companyCreated = event('companies.create', { kind: 'state', data: CompanyState });
export const companyUpdated = event('companies.update', { kind: 'state', data: CompanyState });
