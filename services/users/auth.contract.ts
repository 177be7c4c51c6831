import * as z from 'zod';
import { contract, Nothing } from '../../mixins/contract';
import { problems } from '../../mixins/errors';
import { Email, Locale, line, TimeZone } from '../../mixins/fields';
import { Company, CompanyName } from './companies.contract';
import { FirstName, LastName, User } from './users.contract';

export const authProblems = problems({
  AUTH_INVALID_CREDENTIALS: [401, 'That e-mail address and password do not belong together.'],
  AUTH_REFRESH_TOKEN_INVALID: [401, 'This session has ended; sign in again.'],
  AUTH_LINK_INVALID: [422, 'This link is not one of ours.'],
  AUTH_LINK_EXPIRED: [422, 'This link has expired; ask for a new one.'],
  AUTH_LINK_USED: [422, 'This link was used already; sign in.'],
  AUTH_EMAIL_TAKEN: [409, 'Another account uses this e-mail address.'],
  AUTH_ALREADY_SIGNED_UP: [409, 'You have an account already; sign in.'],
});

/** A password that is being chosen; what makes one acceptable is checked against the e-mail address too. */
const NewPassword = z
  .string({ error: 'must be a text' })
  .min(10, 'must have at least 10 characters')
  .max(128, 'must have at most 128 characters')
  .meta({ format: 'password', examples: ['correct horse battery'] });

/** A password that is presented: only bounded, so that what is wrong with it stays our secret. */
const Password = z
  .string({ error: 'must be a text' })
  .min(1, 'must not be empty')
  .max(128, 'must have at most 128 characters')
  .meta({ format: 'password', examples: ['correct horse battery'] });

const Device = line(100).meta({ examples: ['Pixel 9'] });
const Token = z
  .string({ error: 'must be a token' })
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .meta({ examples: ['dGhpcy1pcy1hbi1leGFtcGxlLW9mLWEtdG9rZW4tMDE'] });

/** What whoever signed in gets: who they are, and the two tokens of the session. */
export const SessionAnswer = z
  .object({
    user: User,
    accessToken: z.string().max(2_000),
    refreshToken: z.string().max(200),
    tokenType: z.literal('Bearer'),
    /** Seconds until the access token expires. */
    expiresIn: z.int(),
  })
  .meta({ id: 'Session' });
export type SessionAnswer = z.infer<typeof SessionAnswer>;

export const signUp = contract('auth.signUp', {
  params: z.strictObject({
    company: z.strictObject({ name: CompanyName, timeZone: TimeZone.optional(), locale: Locale.optional() }),
    user: z.strictObject({ firstName: FirstName, lastName: LastName, email: Email, password: NewPassword }),
    device: Device.optional(),
  }),
  returns: SessionAnswer.extend({ company: Company }).meta({ id: 'SignedUp' }),
  problems: [authProblems.AUTH_ALREADY_SIGNED_UP],
});

export const login = contract('auth.login', {
  params: z.strictObject({ email: Email, password: Password, device: Device.optional() }),
  returns: SessionAnswer,
  problems: [authProblems.AUTH_INVALID_CREDENTIALS],
});

export const refresh = contract('auth.refresh', {
  params: z.strictObject({ refreshToken: Token }),
  returns: SessionAnswer,
  problems: [authProblems.AUTH_REFRESH_TOKEN_INVALID],
});

export const logout = contract('auth.logout', { params: z.strictObject({}), returns: Nothing });

export const acceptInvite = contract('auth.acceptInvite', {
  params: z.strictObject({ token: Token, password: NewPassword, device: Device.optional() }),
  returns: SessionAnswer,
  problems: [
    authProblems.AUTH_LINK_INVALID,
    authProblems.AUTH_LINK_EXPIRED,
    authProblems.AUTH_LINK_USED,
    authProblems.AUTH_EMAIL_TAKEN,
  ],
});

export const getJwks = contract('auth.getJwks', {
  params: z.strictObject({}),
  returns: z
    .object({
      keys: z
        .array(
          z.object({
            kty: z.literal('EC'),
            crv: z.literal('P-256'),
            x: z.string().max(64),
            y: z.string().max(64),
            kid: z.string().max(64),
            use: z.literal('sig'),
            alg: z.literal('ES256'),
          }),
        )
        .max(20),
    })
    .meta({ id: 'JsonWebKeySet' }),
});
