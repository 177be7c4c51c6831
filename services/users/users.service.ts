import { action } from '../../mixins/contract';
import { type DomainService, domain } from '../../mixins/domain.mixin';
import { likePattern } from '../../mixins/search';
import { assertVersion } from '../../mixins/versions';
import { getCompany, lockCompany } from './companies.queries';
import { importPeople, planImport } from './import';
import { parsePeople } from './import.rules';
import { getTeamsById } from './memberships';
import { showUser } from './operators.contract';
import { closeSessionsOf } from './sessions';
import { showPeople } from './support';
import { assertNotLastAdmin, changePerson, invitePeople, noteChange, reinvite, withMovedAddress } from './users.commands';
import {
  createUser,
  deactivateUser,
  getMe,
  getUser,
  importUsers,
  listUsers,
  reactivateUser,
  updateMe,
  updateUser,
} from './users.contract';
import { usersDomain } from './users.domain';
import { toInvited, toVisible, users } from './users.model';
import { getPerson, getVisiblePerson, listPeople, lockPerson, reactivatePerson } from './users.queries';

const IMPORT_LIMIT = 5_000_000;
const IMPORT_TIMEOUT = 60_000;

const schema: DomainService = {
  name: 'users',
  metadata: { description: 'The people of a company.' },
  mixins: domain(usersDomain, users),
  actions: {
    list: action(listUsers, {
      summary: 'List the people of the company',
      description: `People you may see whole are Users, all others Colleagues. Search, filters and order look only at
        what you may read: \`role\`, \`status\` and e-mail addresses of Colleagues match nothing.`,
      rest: 'GET /',
      auth: 'authenticated',
      async handler(ctx) {
        const { companyId, id: me, role: myRole } = ctx.meta.user;
        const { search, ...params } = ctx.params;
        const pattern = search && likePattern(search);
        const page = await listPeople[myRole].page(this.db, { ...params, pattern, companyId, me });
        return { ...page, rows: page.rows.map(toVisible) };
      },
    }),

    getMe: action(getMe, {
      summary: 'Read your own account',
      rest: 'GET /me',
      auth: 'authenticated',
      versioned: true,
      async handler(ctx) {
        return getPerson(this.db, ctx.meta.user.companyId, ctx.meta.user.id);
      },
    }),

    get: action(getUser, {
      summary: 'Read one person',
      rest: 'GET /:id',
      auth: 'authenticated',
      versioned: true,
      async handler(ctx) {
        return toVisible(await getVisiblePerson(this.db, ctx.meta.user, ctx.params.id));
      },
    }),

    updateMe: action(updateMe, {
      summary: 'Change your own account',
      rest: 'PATCH /me',
      auth: 'authenticated',
      versioned: true,
      async handler(ctx) {
        const { companyId, id } = ctx.meta.user;
        return this.inTransaction(ctx, async tx => {
          const before = await lockPerson(tx, companyId, id);
          assertVersion(ctx, before);
          return changePerson(tx, before, ctx.params);
        });
      },
    }),

    create: action(createUser, {
      summary: 'Invite a person',
      description: 'A mail with a link goes to the address; the link is valid for 7 days.',
      rest: 'POST /',
      auth: ['ADMIN'],
      status: 201,
      location: '/users/{id}',
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        const { teamIds = [], ...fields } = ctx.params;
        const company = await getCompany.one(this.db, { companyId });
        const teams = await getTeamsById(this.db, companyId, teamIds);
        return this.inTransaction(ctx, async tx => {
          const person = toInvited(company, { ...fields, teams });
          await invitePeople(this.broker, tx, [person]);
          return person;
        });
      },
    }),

    update: action(updateUser, {
      summary: 'Change a person',
      description: `A change of role ends their sessions. A change of address does too: they are invited at the new one, and
        choose a password again.`,
      rest: 'PATCH /:id',
      auth: ['ADMIN'],
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        const { id, teamIds, ...asked } = ctx.params;
        return this.inTransaction(ctx, async tx => {
          if (asked.role || asked.email) await lockCompany.one(tx, { companyId });
          const before = await lockPerson(tx, companyId, id);
          assertVersion(ctx, before);
          const changes = withMovedAddress(before, asked);
          await assertNotLastAdmin(tx, before, changes);
          const after = await changePerson(tx, before, changes, teamIds);
          if (after.role !== before.role || after.status !== before.status) await closeSessionsOf(tx, { companyId, userId: id });
          if (after.status === 'INVITED' && after.email !== before.email) await reinvite(this.broker, tx, after);
          return after;
        });
      },
    }),

    deactivate: action(deactivateUser, {
      summary: 'Lock a person out',
      description: 'All of their sessions end. What they did is kept.',
      rest: 'POST /:id/deactivate',
      auth: ['ADMIN'],
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        return this.inTransaction(ctx, async tx => {
          await lockCompany.one(tx, { companyId });
          const before = await lockPerson(tx, companyId, ctx.params.id);
          assertVersion(ctx, before);
          if (before.status === 'DEACTIVATED') return before;
          await assertNotLastAdmin(tx, before, { status: 'DEACTIVATED' });
          await closeSessionsOf(tx, { companyId, userId: before.id });
          // The address is free for another company: people take theirs along.
          return changePerson(tx, before, { status: 'DEACTIVATED', emailVerifiedAt: null });
        });
      },
    }),

    reactivate: action(reactivateUser, {
      summary: 'Let a person in again',
      description: 'Whoever had not accepted the invitation yet is invited again.',
      rest: 'POST /:id/reactivate',
      auth: ['ADMIN'],
      versioned: true,
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        return this.inTransaction(ctx, async tx => {
          const before = await lockPerson(tx, companyId, ctx.params.id);
          assertVersion(ctx, before);
          if (before.status !== 'DEACTIVATED') return before;
          await reactivatePerson.one(tx, { companyId, id: before.id });
          const after = await noteChange(tx, before);
          if (after.status === 'INVITED') await reinvite(this.broker, tx, after);
          return after;
        });
      },
    }),

    import: action(importUsers, {
      summary: 'Invite many people from a CSV file',
      description: `Columns: firstName, lastName, email, team, role, timeZone, locale, startsOn, phone; comma or semicolon;
        UTF-8; at most 10,000 rows. Teams that the file names are made. With \`dryRun=true\` everything is checked and
        nothing is changed (200). All rows are imported, or none.`,
      rest: 'POST /import',
      auth: ['ADMIN'],
      status: 201,
      otherStatus: 200,
      location: '/users',
      body: 'text/csv',
      bodyLimit: IMPORT_LIMIT,
      timeout: IMPORT_TIMEOUT,
      query: ['dryRun'],
      async handler(ctx) {
        const { companyId } = ctx.meta.user;
        const { people } = parsePeople(ctx.params.csv);
        if (ctx.params.dryRun) {
          ctx.meta.$statusCode = 200;
          const { newNames } = await planImport(this.db, companyId, people);
          return { valid: people.length, teamsToCreate: newNames };
        }
        return this.inTransaction(ctx, tx => importPeople(this.broker, tx, companyId, people));
      },
    }),

    show: action(showUser, {
      summary: 'Find whoever has an address, for operators',
      auth: 'internal',
      handler(ctx) {
        return showPeople(this.db, ctx, ctx.params);
      },
    }),
  },
};

export default schema;
