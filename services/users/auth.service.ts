import type * as z from 'zod';
import { keysOf } from '../../mixins/auth/keys';
import { passwordProblems } from '../../mixins/auth/passwords';
import { recordFailure } from '../../mixins/auth/throttle';
import { hashToken } from '../../mixins/auth/tokens';
import { action, type CommandContext } from '../../mixins/contract';
import { type DomainService, domain } from '../../mixins/domain.mixin';
import { commonProblems } from '../../mixins/errors';
import { acceptInvite, authProblems, getJwks, login, logout, refresh, type SessionAnswer, signUp } from './auth.contract';
import { assertFollowable } from './auth.rules';
import { getCompany } from './companies.queries';
import { endSessionsOfUser } from './operators.contract';
import { closeSession, continueSession, startSession, toSessionAnswer } from './sessions';
import { type Account, findAccountByHash, findLink, lockAddress, useLink } from './sessions.queries';
import { attemptAt, findAccount, hashFor } from './sign-in';
import { foundCompany } from './sign-up';
import { endSessionsFor } from './support';
import { changePerson } from './users.commands';
import { usersDomain } from './users.domain';
import { users } from './users.model';
import { getPerson, lockPerson } from './users.queries';

type SignUpContext = CommandContext & { params: z.output<typeof signUp.params> };

interface AuthMethods {
  /** Begins a session for an account whose password was right, unless it was locked meanwhile. */
  signIn(ctx: CommandContext, account: Account, device: string | undefined): Promise<SessionAnswer>;
  /** Founds the company, unless the same person has done so meanwhile: a second tap. */
  found(ctx: SignUpContext, passwordHash: string): Promise<z.input<typeof signUp.returns> | undefined>;
}

const schema: DomainService<AuthMethods> = {
  name: 'auth',
  metadata: { description: 'Signing up, in and out, and accepting invitations.' },
  mixins: domain(usersDomain, users),
  actions: {
    signUp: action(signUp, {
      summary: 'Sign a company up, with its first administrator',
      description: 'A second tap with the same address and password gets a session of the account that the first one made.',
      rest: 'POST /sign-up',
      auth: 'public',
      status: 201,
      location: '/users/{user.id}',
      secret: true,
      async handler(ctx) {
        const { user, company, device } = ctx.params;
        assertAcceptable('user.password', user.password, user.email);
        for (;;) {
          const { account, passwordHash } = await findAccount(this.db, ctx, user);
          if (account) {
            const own = await getCompany.one(this.db, { companyId: account.companyId });
            if (own.name !== company.name) throw authProblems.AUTH_ALREADY_SIGNED_UP();
            return { ...(await this.signIn(ctx, account, device)), company: own };
          }
          const founded = await this.found(ctx, passwordHash);
          if (founded) return founded;
        }
      },
    }),

    login: action(login, {
      summary: 'Sign in',
      rest: 'POST /login',
      auth: 'public',
      secret: true,
      async handler(ctx) {
        const { account } = await findAccount(this.db, ctx, ctx.params);
        if (account) return this.signIn(ctx, account, ctx.params.device);
        await recordFailure(this.db, attemptAt(ctx, ctx.params.email));
        throw authProblems.AUTH_INVALID_CREDENTIALS();
      },
    }),

    refresh: action(refresh, {
      summary: 'Continue a session',
      description: `The refresh token is spent and its successor answered. Within 10 seconds a phone that missed the answer
        may present the spent one again. Any other spent token ends the session.`,
      rest: 'POST /refresh',
      auth: 'public',
      secret: true,
      async handler(ctx) {
        const continued = await this.inTransaction(ctx, async tx => {
          const session = await continueSession(tx, ctx.params.refreshToken);
          return session && { session, person: await getPerson(tx, session.companyId, session.userId) };
        });
        if (continued?.person.status !== 'ACTIVE') throw authProblems.AUTH_REFRESH_TOKEN_INVALID();
        return toSessionAnswer(this.broker, continued.person, continued.session);
      },
    }),

    logout: action(logout, {
      summary: 'Sign out',
      rest: 'POST /logout',
      auth: 'authenticated',
      status: 204,
      async handler(ctx) {
        const { companyId, id: userId, sessionId } = ctx.meta.user;
        await this.inTransaction(ctx, tx => closeSession(tx, { companyId, userId, sessionId }));
      },
    }),

    acceptInvite: action(acceptInvite, {
      summary: 'Accept an invitation',
      description: 'The link works once. It proves the address, so nobody else may have it verified already.',
      rest: 'POST /accept-invite',
      auth: 'public',
      secret: true,
      async handler(ctx) {
        const { token, password, device } = ctx.params;
        const tokenHash = hashToken(token);
        const link = await findLink.maybe(this.db, { tokenHash, kind: 'INVITE' });
        assertFollowable(link);
        assertAcceptable('password', password, link.email);
        const passwordHash = await hashFor(this.db, link.email, password);
        return this.inTransaction(ctx, async tx => {
          const before = await lockPerson(tx, link.companyId, link.userId);
          assertFollowable(await findLink.maybe(tx, { tokenHash, kind: 'INVITE' }));
          await useLink.all(tx, { tokenHash });
          const emailVerifiedAt = new Date().toISOString();
          const person = await changePerson(tx, before, { status: 'ACTIVE', passwordHash, emailVerifiedAt });
          return toSessionAnswer(this.broker, person, await startSession(tx, person, device));
        });
      },
    }),

    getJwks: action(getJwks, {
      summary: 'Read the public keys that access tokens are signed with',
      description: 'A JSON Web Key Set (RFC 7517). A new key is published an hour before it signs.',
      rest: { method: 'GET', fullPath: '/.well-known/jwks.json' },
      auth: 'public',
      handler() {
        return keysOf(this.broker).jwks();
      },
    }),

    endSessions: action(endSessionsOfUser, {
      summary: 'End every session of a person, for operators',
      auth: 'internal',
      handler(ctx) {
        return endSessionsFor(this.db, ctx, ctx.params);
      },
    }),
  },

  methods: {
    async signIn(ctx, account, device) {
      return this.inTransaction(ctx, async tx => {
        const person = await lockPerson(tx, account.companyId, account.id);
        if (person.status !== 'ACTIVE') throw authProblems.AUTH_INVALID_CREDENTIALS();
        return toSessionAnswer(this.broker, person, await startSession(tx, person, device));
      });
    },

    async found(ctx, passwordHash) {
      const { user, device } = ctx.params;
      return this.inTransaction(ctx, async tx => {
        await lockAddress.all(tx, { email: user.email });
        if (await findAccountByHash.maybe(tx, { email: user.email, passwordHash })) return undefined;
        // Whether or not somebody has the address already: a sign-up is a guess at their password too.
        await recordFailure(tx, attemptAt(ctx, user.email));
        const { person, company } = await foundCompany(tx, ctx.params, passwordHash);
        return { ...toSessionAnswer(this.broker, person, await startSession(tx, person, device)), company };
      });
    },
  },
};

/** @throws VALIDATION_FAILED saying what is wrong with a password that somebody chooses */
function assertAcceptable(field: string, password: string, email: string): void {
  const errors = passwordProblems(password, email, field);
  if (errors.length > 0) throw commonProblems.VALIDATION_FAILED({ errors });
}

export default schema;
