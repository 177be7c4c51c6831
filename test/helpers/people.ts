import type { Answer, Client } from './client';
import { readMailLink } from './mails';

let counter = 0;
export const PASSWORD = 'correct horse battery';

/** A name that no other test uses. */
export const unique = (what: string) => `${what}-${process.pid}-${++counter}`;
export const uniqueEmail = (who = 'someone') => `${unique(who)}@example.com`;

export interface SignedIn {
  client: Client;
  user: any;
  company: any;
  accessToken: string;
  refreshToken: string;
  email: string;
}

/** Body of a sign-up that is in order. */
export const signUpBody = (email = uniqueEmail('admin'), company: object = {}) => ({
  company: { name: unique('Atelier'), timeZone: 'Europe/Paris', ...company },
  user: { firstName: 'Ada', lastName: 'Admin', email, password: PASSWORD },
  device: 'test',
});

export const toSignedIn = (client: Client, email: string, { body }: Answer): SignedIn => ({
  client: client.as(body.accessToken),
  user: body.user,
  company: body.company,
  accessToken: body.accessToken,
  refreshToken: body.refreshToken,
  email,
});

/** A new company; its first administrator. */
export async function signUp(client: Client, company: object = {}): Promise<SignedIn> {
  const body = signUpBody(undefined, company);
  const answer = await client.post('/auth/sign-up', body);
  if (answer.status !== 201) throw new Error(`sign-up answered ${answer.status} ${JSON.stringify(answer.body)}`);
  return toSignedIn(client, body.user.email, answer);
}

/** Invites somebody, reads their mail and accepts: the whole way, as a person goes it. */
export async function join(admin: SignedIn, dataDir: string, person: object = {}): Promise<SignedIn> {
  const email = uniqueEmail('person');
  const invited = await admin.client.post('/users', {
    firstName: 'Emil',
    lastName: 'Employee',
    email,
    role: 'EMPLOYEE',
    ...person,
  });
  if (invited.status !== 201) throw new Error(`invite answered ${invited.status} ${JSON.stringify(invited.body)}`);
  const { token } = await readMailLink(dataDir, invited.body.email);
  const accepted = await admin.client.post('/auth/accept-invite', { token, password: PASSWORD });
  if (accepted.status !== 200) throw new Error(`accept answered ${accepted.status} ${JSON.stringify(accepted.body)}`);
  return { ...toSignedIn(admin.client, invited.body.email, accepted), company: admin.company };
}
