import { v7 as uuidv7 } from 'uuid';
import { audit } from '../../mixins/audit';
import { action } from '../../mixins/contract';
import { type DomainService, domain } from '../../mixins/domain.mixin';
import { record } from '../../mixins/events/record';
import { likePattern } from '../../mixins/search';
import { assertVersion } from '../../mixins/versions';
import { setManagersOf } from './memberships';
import { createTeam, getTeam, listTeams, teamCreated, teamUpdated, updateTeam } from './teams.contract';
import { teams } from './teams.model';
import { getTeamRow, listTeamRows, lockTeam } from './teams.queries';
import { usersDomain } from './users.domain';

const schema: DomainService = {
  name: 'teams',
  metadata: { description: 'The teams of a company and who manages them.' },
  mixins: domain(usersDomain, teams),
  actions: {
    list: action(listTeams, {
      summary: 'List the teams of the company',
      rest: 'GET /',
      auth: 'authenticated',
      async handler(ctx) {
        const { search, ...page } = ctx.params;
        const pattern = search && likePattern(search);
        return listTeamRows.page(this.db, { ...page, pattern, companyId: ctx.meta.user.companyId });
      },
    }),

    get: action(getTeam, {
      summary: 'Read one team',
      rest: 'GET /:id',
      auth: 'authenticated',
      versioned: true,
      async handler(ctx) {
        return getTeamRow(this.db, ctx.meta.user.companyId, ctx.params.id);
      },
    }),

    create: action(createTeam, {
      summary: 'Make a team',
      rest: 'POST /',
      auth: ['ADMIN'],
      status: 201,
      location: '/teams/{id}',
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        return this.inTransaction(ctx, async tx => {
          const id = uuidv7();
          await tx.insert(teams, { id, companyId, name: ctx.params.name });
          await setManagersOf(tx, companyId, id, ctx.params.managerIds ?? []);
          const team = await getTeamRow(tx, companyId, id);
          await record(tx, teamCreated, { ...team, companyId });
          await audit(tx, { action: 'teams.create', subjectType: 'team', subjectId: id, before: null, after: team });
          return team;
        });
      },
    }),

    update: action(updateTeam, {
      summary: 'Change a team',
      description: '`managerIds` replaces the list of managers.',
      rest: 'PATCH /:id',
      auth: ['ADMIN'],
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        const { id, managerIds, ...changes } = ctx.params;
        return this.inTransaction(ctx, async tx => {
          const before = await lockTeam(tx, companyId, id);
          assertVersion(ctx, before);
          if (managerIds === undefined && changes.name === undefined) return before;
          if (managerIds) await setManagersOf(tx, companyId, id, managerIds);
          await tx.update(teams, { companyId, id }, changes);
          const team = await getTeamRow(tx, companyId, id);
          await record(tx, teamUpdated, { ...team, companyId });
          await audit(tx, { action: 'teams.update', subjectType: 'team', subjectId: id, before, after: team });
          return team;
        });
      },
    }),
  },
};

export default schema;
