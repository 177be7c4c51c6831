import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { readMailLink, readMails } from '../helpers/mails';
import { join, PASSWORD, signUp, signUpBody, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';

let app: App;
let http: Client;

beforeAll(async () => {
  app = await startApp();
  http = new Client(app.url);
});
afterAll(() => app?.stop());

const inParallel = <T>(count: number, work: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)));

describe('POST /auth/sign-up', () => {
  it('makes a company, its first administrator and a session', async () => {
    const body = signUpBody();
    const answer = await http.post('/auth/sign-up', body);
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({
      tokenType: 'Bearer',
      expiresIn: 900,
      company: { name: body.company.name, timeZone: 'Europe/Paris', locale: 'en', workingWeek: [1, 2, 3, 4, 5], version: 1 },
      user: { email: body.user.email, role: 'ADMIN', status: 'ACTIVE', teams: [], timeZone: 'Europe/Paris', version: 1 },
    });
    expect(answer.headers.get('location')).toBe(`/users/${answer.body.user.id}`);
    const me = await http.get('/users/me', { token: answer.body.accessToken });
    expect(me.body.id).toBe(answer.body.user.id);
  });

  it('sends the first administrator a welcome without a link', async () => {
    const admin = await signUp(http);
    const mail = await until(async () => (await readMails(app.config.dataDir)).find(each => each.to === admin.email));
    expect(mail?.text).not.toContain('token=');
  });

  it('makes one account of 20 sign-ups at once with one address', async () => {
    const body = signUpBody();
    const answers = await inParallel(20, () => http.post('/auth/sign-up', body));
    expect(answers.map(answer => answer.status)).toEqual(Array(20).fill(201));
    expect(new Set(answers.map(answer => answer.body.user.id)).size).toBe(1);
    expect(new Set(answers.map(answer => answer.body.company.id)).size).toBe(1);
  });

  it('answers alike for an address that has an account, which it leaves alone', async () => {
    const admin = await signUp(http);
    const body = signUpBody(admin.email);
    body.user.password = 'another long password';
    const answer = await http.post('/auth/sign-up', body);
    expect(answer.status).toBe(201);
    expect(answer.body.user.id).not.toBe(admin.user.id);
    expect((await http.post('/auth/login', { email: admin.email, password: PASSWORD })).body.user.id).toBe(admin.user.id);
  });

  it('locks nobody out, however many sign up with their address', async () => {
    const founder = await signUp(http);
    for (let n = 0; n < 8; n++) {
      const body = signUpBody(founder.email);
      body.user.password = `another long password ${n}`;
      await http.post('/auth/sign-up', body);
    }
    const login = await http.post('/auth/login', { email: founder.email, password: PASSWORD });
    expect(login.body.user?.id).toBe(founder.user.id);
  });

  it('counts against an address alike, whether or not it has an account', async () => {
    const known = await signUp(http);
    const statuses = await Promise.all(
      [known.email, uniqueEmail('unknown')].map(async email => {
        const seen: number[] = [];
        for (let n = 0; n < 12; n++) {
          const body = signUpBody(email);
          body.user.password = `a guessed password ${n}`;
          seen.push((await http.post('/auth/sign-up', body)).status);
        }
        return seen;
      }),
    );
    // The known address has its own sign-up behind it, which counted as one.
    expect(statuses[0]!.filter(status => status === 201)).toHaveLength(9);
    expect(statuses[1]!.filter(status => status === 201)).toHaveLength(10);
  });

  it('tells only who knows the password that they have an account', async () => {
    const founder = await signUp(http);
    const answer = await http.post('/auth/sign-up', signUpBody(founder.email));
    expect(answer.body).toMatchObject({ status: 409, code: 'AUTH_ALREADY_SIGNED_UP' });
  });

  it.each([
    ['a short password', { password: 'short' }, 'user.password'],
    ['a common password', { password: 'password123' }, 'user.password'],
    ['no first name', { firstName: ' ' }, 'user.firstName'],
    ['an address that is none', { email: 'nobody' }, 'user.email'],
    ['a field that does not exist', { isRoot: true }, 'user.isRoot'],
  ])('refuses %s by name', async (_, change, field) => {
    const body = signUpBody();
    const answer = await http.post('/auth/sign-up', { ...body, user: { ...body.user, ...change } });
    expect(answer.status).toBe(422);
    expect(answer.body.errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  it('refuses the address itself as password', async () => {
    const body = signUpBody();
    body.user.password = body.user.email;
    expect((await http.post('/auth/sign-up', body)).status).toBe(422);
  });
});

describe('POST /auth/login', () => {
  it('signs in whatever the case of the address', async () => {
    const admin = await signUp(http);
    const answer = await http.post('/auth/login', { email: admin.email.toUpperCase(), password: PASSWORD, device: 'Pixel 9' });
    expect(answer.status).toBe(200);
    expect(answer.body.user.id).toBe(admin.user.id);
  });

  it('answers alike for a wrong password, an unknown address, an invited and a deactivated person', async () => {
    const admin = await signUp(http);
    const invited = uniqueEmail('invited');
    await admin.client.post('/users', { firstName: 'I', lastName: 'N', email: invited, role: 'EMPLOYEE' });
    const gone = await join(admin, app.config.dataDir);
    await admin.client.post(`/users/${gone.user.id}/deactivate`);
    const bodies = await Promise.all(
      [admin.email, uniqueEmail('unknown'), invited, gone.email].map(async email => {
        const password = email === gone.email ? PASSWORD : 'not the password';
        const { status, body } = await http.post('/auth/login', { email, password });
        return { ...body, status, requestId: undefined };
      }),
    );
    expect(bodies[0]).toMatchObject({ status: 401, code: 'AUTH_INVALID_CREDENTIALS' });
    for (const body of bodies) expect(body).toEqual(bodies[0]);
  });

  it('stops guessing after ten failures, also for the right password', async () => {
    const admin = await signUp(http);
    const answers = await inParallel(30, () => http.post('/auth/login', { email: admin.email, password: 'not the password' }));
    expect(answers.filter(answer => answer.status === 401).length).toBeLessThanOrEqual(10);
    const right = await http.post('/auth/login', { email: admin.email, password: PASSWORD });
    expect(right.status).toBe(429);
    expect(Number(right.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('POST /auth/refresh', () => {
  it('spends the token for its successor', async () => {
    const admin = await signUp(http);
    const first = await http.post('/auth/refresh', { refreshToken: admin.refreshToken });
    expect(first.status).toBe(200);
    expect(first.body.refreshToken).not.toBe(admin.refreshToken);
    expect((await http.get('/users/me', { token: first.body.accessToken })).status).toBe(200);
  });

  it('ends 20 refreshes at once with one token in one working family', async () => {
    const admin = await signUp(http);
    const answers = await inParallel(20, () => http.post('/auth/refresh', { refreshToken: admin.refreshToken }));
    expect(answers.map(answer => answer.status)).toEqual(Array(20).fill(200));
    const successors = new Set(answers.map(answer => answer.body.refreshToken));
    expect(successors.size).toBe(1);
    expect((await http.post('/auth/refresh', { refreshToken: [...successors][0] })).status).toBe(200);
  });

  it('ends the session when a spent token comes back after its successor was used', async () => {
    const admin = await signUp(http);
    const second = await http.post('/auth/refresh', { refreshToken: admin.refreshToken });
    const third = await http.post('/auth/refresh', { refreshToken: second.body.refreshToken });
    const stolen = await http.post('/auth/refresh', { refreshToken: admin.refreshToken });
    expect(stolen.body).toMatchObject({ status: 401, code: 'AUTH_REFRESH_TOKEN_INVALID' });
    expect((await http.post('/auth/refresh', { refreshToken: third.body.refreshToken })).status).toBe(401);
    expect((await http.get('/users/me', { token: third.body.accessToken })).status).toBe(401);
  });

  it('refuses a token that is none of ours', async () => {
    expect((await http.post('/auth/refresh', { refreshToken: 'x'.repeat(43) })).status).toBe(401);
  });
});

describe('POST /auth/logout', () => {
  it('ends this session at once and leaves the others', async () => {
    const admin = await signUp(http);
    const other = await http.post('/auth/login', { email: admin.email, password: PASSWORD });
    const answer = await admin.client.post('/auth/logout');
    expect(answer.status).toBe(204);
    expect(answer.body).toBeUndefined();
    expect((await admin.client.get('/users/me')).status).toBe(401);
    expect((await http.post('/auth/refresh', { refreshToken: admin.refreshToken })).status).toBe(401);
    expect((await http.get('/users/me', { token: other.body.accessToken })).status).toBe(200);
  });
});

describe('a session that ends while a request arrives', () => {
  it('does nothing with it any more', async () => {
    const admin = await signUp(http);
    const body = JSON.stringify({ name: 'Too late' });
    const { port } = new URL(app.url);
    const socket = connect(Number(port), '127.0.0.1');
    const answer = new Promise<string>(resolve => socket.once('data', data => resolve(String(data))));
    socket.write(
      `POST /teams HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin.accessToken}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`,
    );
    expect((await admin.client.get('/users/me')).status).toBe(200);
    expect((await admin.client.post('/auth/logout')).status).toBe(204);
    socket.write(body.slice(-1));
    expect(await answer).toMatch(/^HTTP\/1.1 401 /);
    socket.destroy();
  });
});

describe('POST /auth/accept-invite', () => {
  const invite = async () => {
    const admin = await signUp(http);
    const email = uniqueEmail('invited');
    const { body: user } = await admin.client.post('/users', { firstName: 'Ines', lastName: 'Iyer', email, role: 'EMPLOYEE' });
    return { admin, email, user, ...(await readMailLink(app.config.dataDir, email)) };
  };

  it('makes the person active and signs them in', async () => {
    const { token, user } = await invite();
    const answer = await http.post('/auth/accept-invite', { token, password: PASSWORD });
    expect(answer.status).toBe(200);
    expect(answer.body.user).toMatchObject({ id: user.id, status: 'ACTIVE', version: 2 });
  });

  it('works once, also when tapped twice at the same moment', async () => {
    const { token } = await invite();
    const answers = await inParallel(5, () => http.post('/auth/accept-invite', { token, password: PASSWORD }));
    expect(answers.filter(answer => answer.status === 200)).toHaveLength(1);
    const again = await http.post('/auth/accept-invite', { token, password: PASSWORD });
    expect(again.body).toMatchObject({ status: 422, code: 'AUTH_LINK_USED', errors: [{ field: 'token' }] });
  });

  it('refuses a token that is none of ours', async () => {
    const answer = await http.post('/auth/accept-invite', { token: 'x'.repeat(43), password: PASSWORD });
    expect(answer.body).toMatchObject({ status: 422, code: 'AUTH_LINK_INVALID', errors: [{ field: 'token' }] });
  });

  it('keeps the link when the password is not acceptable', async () => {
    const { token } = await invite();
    const refused = await http.post('/auth/accept-invite', { token, password: '1234567890' });
    expect(refused.body).toMatchObject({ status: 422, errors: [{ field: 'password' }] });
    expect((await http.post('/auth/accept-invite', { token, password: PASSWORD })).status).toBe(200);
  });

  it('shows a conflict to the mailbox only: the address may be invited twice, and verified once', async () => {
    const first = await invite();
    await http.post('/auth/accept-invite', { token: first.token, password: PASSWORD });
    const admin = await signUp(http);
    const second = await admin.client.post('/users', { firstName: 'I', lastName: 'I', email: first.email, role: 'EMPLOYEE' });
    expect(second.status).toBe(201);
    const { token } = await until(async () => {
      const mails = (await readMails(app.config.dataDir)).filter(mail => mail.to === first.email && mail.text.includes('token='));
      const tokens = mails.map(mail => /token=([\w-]+)/.exec(mail.text)?.[1]).filter(each => each !== first.token);
      return tokens[0] && { token: tokens[0] };
    });
    const answer = await http.post('/auth/accept-invite', { token, password: PASSWORD });
    expect(answer.body).toMatchObject({ status: 409, code: 'AUTH_EMAIL_TAKEN' });
  });

  it('does nothing for somebody who was deactivated meanwhile', async () => {
    const { admin, user, token } = await invite();
    await admin.client.post(`/users/${user.id}/deactivate`);
    expect((await http.post('/auth/accept-invite', { token, password: PASSWORD })).status).toBe(422);
  });
});

describe('GET /.well-known/jwks.json', () => {
  it('shows public keys and nothing private', async () => {
    const answer = await http.get('/.well-known/jwks.json');
    expect(answer.status).toBe(200);
    expect(answer.body.keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' });
    expect(answer.body.keys[0].d).toBeUndefined();
  });
});
