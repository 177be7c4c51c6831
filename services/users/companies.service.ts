import { audit } from '../../mixins/audit';
import { action } from '../../mixins/contract';
import { type DomainService, domain } from '../../mixins/domain.mixin';
import { record } from '../../mixins/events/record';
import { assertVersion } from '../../mixins/versions';
import { companyUpdated, getCurrentCompany, updateCurrentCompany } from './companies.contract';
import { companies } from './companies.model';
import { getCompany, lockCompany } from './companies.queries';
import { usersDomain } from './users.domain';

const schema: DomainService = {
  name: 'companies',
  metadata: { description: 'The company itself.' },
  mixins: domain(usersDomain, companies),
  actions: {
    getCurrent: action(getCurrentCompany, {
      summary: 'Read your company',
      rest: 'GET /current',
      auth: 'authenticated',
      versioned: true,
      async handler(ctx) {
        return getCompany.one(this.db, { companyId: ctx.meta.user.companyId });
      },
    }),

    updateCurrent: action(updateCurrentCompany, {
      summary: 'Change your company',
      rest: 'PATCH /current',
      auth: ['ADMIN'],
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        return this.inTransaction(ctx, async tx => {
          const before = await lockCompany.one(tx, { companyId });
          assertVersion(ctx, before);
          if (Object.keys(ctx.params).length === 0) return before;
          await tx.update(companies, { id: companyId }, ctx.params);
          const company = await getCompany.one(tx, { companyId });
          await record(tx, companyUpdated, { ...company, companyId });
          await audit(tx, { action: 'companies.update', subjectType: 'company', subjectId: companyId, before, after: company });
          return company;
        });
      },
    }),
  },
};

export default schema;
