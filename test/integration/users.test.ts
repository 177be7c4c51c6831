import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { readMailLink, readMails } from '../helpers/mails';
import { join, PASSWORD, type SignedIn, signUp, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';

const openApi = JSON.parse(readFileSync(`${__dirname}/../../openapi.json`, 'utf8'));

let app: App;
let http: Client;
let admin: SignedIn;
let manager: SignedIn;
let employee: SignedIn;
let outsider: SignedIn;
let stranger: SignedIn;
let team: any;
let otherTeam: any;

beforeAll(async () => {
  app = await startApp();
  http = new Client(app.url);
  admin = await signUp(http);
  team = (await admin.client.post('/teams', { name: 'Night shift' })).body;
  otherTeam = (await admin.client.post('/teams', { name: 'Day shift' })).body;
  const { dataDir } = app.config;
  manager = await join(admin, dataDir, { firstName: 'Mona', lastName: 'Manager', role: 'MANAGER', teamIds: [team.id] });
  employee = await join(admin, dataDir, {
    firstName: 'Élodie',
    lastName: 'Lefèvre',
    teamIds: [team.id],
    phone: '+33 6 12 34 56 78',
  });
  outsider = await join(admin, dataDir, { firstName: 'Otto', lastName: 'Other', teamIds: [otherTeam.id] });
  stranger = await signUp(http);
});

const person = (change: object = {}) => ({
  firstName: 'Zoé',
  lastName: 'Zola',
  email: uniqueEmail('zoe'),
  role: 'EMPLOYEE',
  ...change,
});
const ids = (answer: { body: { rows: { id: string }[] } }) => answer.body.rows.map(row => row.id);

describe('GET /users/me', () => {
  it('shows the whole account with its version as ETag', async () => {
    const answer = await employee.client.get('/users/me');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('etag')).toBe(`"${answer.body.version}"`);
    expect(answer.body).toMatchObject({
      email: employee.email,
      phone: '+33 6 12 34 56 78',
      teams: [{ id: team.id, name: 'Night shift' }],
    });
  });

  it('is for whoever is signed in', async () => {
    const answer = await http.get('/users/me');
    expect(answer.body).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  });
});

describe('PATCH /users/me', () => {
  it('keeps what is absent and clears what is null', async () => {
    const someone = await join(admin, app.config.dataDir, { phone: '+33 6 12 34 56 78' });
    const first = await someone.client.patch('/users/me', { locale: 'fr', pictureUrl: 'https://example.com/a.jpg' });
    expect(first.body).toMatchObject({ locale: 'fr', phone: '+33 6 12 34 56 78', pictureUrl: 'https://example.com/a.jpg' });
    const second = await someone.client.patch('/users/me', { phone: null });
    expect(second.body).toMatchObject({ locale: 'fr', phone: null, version: first.body.version + 1 });
  });

  it.each([
    ['role', { role: 'ADMIN' }],
    ['email', { email: 'me@example.com' }],
    ['pictureUrl', { pictureUrl: 'javascript:alert(1)' }],
    ['timeZone', { timeZone: 'Europe/Pariss' }],
  ])('refuses %s', async (field, change) => {
    const answer = await employee.client.patch('/users/me', change);
    expect(answer.body).toMatchObject({ status: 422, errors: [{ field }] });
  });

  it('refuses a change made on an old reading', async () => {
    const { body } = await employee.client.get('/users/me');
    const stale = await employee.client.patch(
      '/users/me',
      { locale: 'fr' },
      { headers: { 'if-match': `"${body.version - 1}"` } },
    );
    expect(stale.body).toMatchObject({ status: 412, code: 'VERSION_MISMATCH' });
    expect((await employee.client.get('/users/me')).body).toEqual(body);
  });
});

describe('GET /users/:id', () => {
  it.each([
    ['an ADMIN everybody', () => admin, () => outsider, true],
    ['a MANAGER their team', () => manager, () => employee, true],
    ['a MANAGER others as colleagues', () => manager, () => outsider, false],
    ['an EMPLOYEE themself', () => employee, () => employee, true],
    ['an EMPLOYEE others as colleagues', () => employee, () => manager, false],
  ])('shows %s', async (_, who, whom, isWhole) => {
    const answer = await who().client.get(`/users/${whom().user.id}`);
    expect(answer.status).toBe(200);
    const colleague = ['firstName', 'id', 'lastName', 'pictureUrl', 'teams'];
    if (isWhole) expect(answer.body.email).toBe(whom().email);
    else expect(Object.keys(answer.body).sort()).toEqual(colleague);
  });

  it('knows nobody of another company', async () => {
    expect((await stranger.client.get(`/users/${employee.user.id}`)).body).toMatchObject({
      status: 404,
      code: 'USERS_NOT_FOUND',
    });
  });

  it('takes an id that is no UUID for nobody', async () => {
    expect((await admin.client.get('/users/1')).status).toBe(404);
  });
});

describe('GET /users', () => {
  it('finds by name without regard to accents, case or order', async () => {
    for (const search of ['lefevre', 'ELODIE', 'lefèvre élodie', 'elodie lefevre']) {
      expect(ids(await admin.client.get(`/users?search=${encodeURIComponent(search)}&sort=lastName`))).toEqual([
        employee.user.id,
      ]);
    }
  });

  it('takes % and _ for plain characters', async () => {
    for (const search of ['%', '_', '\\']) {
      expect((await admin.client.get(`/users?search=${encodeURIComponent(search)}`)).body.total).toBe(0);
    }
  });

  it('finds an address for those who may read it', async () => {
    const search = `/users?search=${encodeURIComponent(employee.email)}`;
    expect(ids(await manager.client.get(search))).toEqual([employee.user.id]);
    expect(ids(await outsider.client.get(search))).toEqual([]);
  });

  it('is no oracle: hidden fields match nothing of colleagues', async () => {
    expect(ids(await employee.client.get('/users?role=ADMIN'))).toEqual([]);
    expect(ids(await employee.client.get('/users?status=ACTIVE'))).toEqual([employee.user.id]);
    expect(ids(await employee.client.get('/users?role=MANAGER'))).toEqual([]);
    expect(ids(await admin.client.get('/users?role=MANAGER'))).toEqual([manager.user.id]);
  });

  it('filters by team and pages without overlap', async () => {
    expect(ids(await admin.client.get(`/users?teamId=${team.id}&sort=firstName`))).toEqual([employee.user.id, manager.user.id]);
    const all = await admin.client.get('/users?pageSize=100');
    const pages = await Promise.all([1, 2, 3].map(page => admin.client.get(`/users?page=${page}&pageSize=2`)));
    expect(pages.flatMap(ids)).toEqual(ids(all).slice(0, 6));
    expect(pages[0]!.body).toMatchObject({ page: 1, pageSize: 2, total: all.body.total, totalIsExact: true });
    expect(pages[0]!.body.totalPages).toBe(Math.ceil(all.body.total / 2));
  });

  it('keeps the total on a page beyond the last', async () => {
    const { body } = await admin.client.get('/users?page=50&pageSize=20');
    expect(body.rows).toEqual([]);
    expect(body.total).toBeGreaterThan(3);
  });

  it.each([
    ['page', 'page=0'],
    ['pageSize', 'pageSize=101'],
    ['page', 'page=1000&pageSize=100'],
    ['sort', 'sort=passwordHash'],
    ['role', 'role=ROOT'],
    ['teamId', 'teamId=1'],
    ['sort', 'sort=lastName,-lastName'],
    ['limit', 'limit=5'],
  ])('refuses %s in ?%s', async (field, query) => {
    expect((await admin.client.get(`/users?${query}`)).body).toMatchObject({ status: 422, errors: [{ field }] });
  });
});

describe('POST /users', () => {
  it('invites somebody with the company’s zone and language', async () => {
    const answer = await admin.client.post('/users', person({ teamIds: [team.id] }));
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe(`/users/${answer.body.id}`);
    expect(answer.body).toMatchObject({
      status: 'INVITED',
      timeZone: 'Europe/Paris',
      locale: 'en',
      teams: [{ id: team.id }],
      version: 1,
    });
  });

  it('stores every field that it takes and answers', async () => {
    const schema = openApi.paths['/users'].post.requestBody.content['application/json'].schema;
    const fields = schema.properties ?? openApi.components.schemas[schema.$ref.split('/').at(-1)].properties;
    const samples = Object.entries<any>(fields).map(([field, { examples, enum: values, anyOf }]) => {
      const [sample] = examples ?? values ?? anyOf?.[0].examples ?? anyOf?.[0].enum ?? [];
      return [field, sample];
    });
    const { teamIds: _, ...body } = { ...Object.fromEntries(samples), email: uniqueEmail('every') };
    expect(Object.entries(body).filter(([, sample]) => sample === undefined)).toEqual([]);
    const { body: made } = await admin.client.post('/users', { ...body, teamIds: [team.id] });
    expect(made).toMatchObject(body);
    expect((await admin.client.get(`/users/${made.id}`)).body).toEqual(made);
  });

  it('refuses an address that the company has, in any case', async () => {
    const answer = await admin.client.post('/users', person({ email: employee.email.toUpperCase() }));
    expect(answer.body).toMatchObject({ status: 409, code: 'USERS_EMAIL_TAKEN' });
  });

  it.each([
    ['startsOn', { startsOn: '0000-01-01' }],
    ['startsOn', { startsOn: '2026-02-30' }],
    ['firstName', { firstName: '\u200b\u00ad' }],
    ['lastName', { lastName: 'Zola\u202eevil' }],
    ['phone', { phone: '=1+1' }],
  ])('refuses %s that is none', async (field, change) => {
    expect((await admin.client.post('/users', person(change))).body).toMatchObject({ status: 422, errors: [{ field }] });
  });

  it('takes an address that another company has', async () => {
    expect((await stranger.client.post('/users', person({ email: employee.email }))).status).toBe(201);
  });

  it('refuses a team of another company, and makes nobody', async () => {
    const body = person();
    const theirs = (await stranger.client.post('/teams', { name: 'Theirs' })).body;
    const answer = await admin.client.post('/users', { ...body, teamIds: [team.id, theirs.id] });
    expect(answer.body).toMatchObject({ status: 422, code: 'USERS_TEAM_UNKNOWN', errors: [{ field: 'teamIds.1' }] });
    expect((await admin.client.get(`/users?search=${body.email}`)).body.total).toBe(0);
  });

  it.each([['MANAGER', () => manager] as const, ['EMPLOYEE', () => employee] as const])('is not for %s', async (_, who) => {
    expect((await who().client.post('/users', person())).body).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect((await who().client.post('/users', { nonsense: true })).status).toBe(403);
  });

  it('does once what is asked twice with one Idempotency-Key', async () => {
    const body = person();
    const headers = { 'idempotency-key': '"a-tap"' };
    const answers = await Promise.all([1, 2, 3, 4].map(() => admin.client.post('/users', body, { headers })));
    expect(new Set(answers.map(answer => answer.body.id)).size).toBe(1);
    expect(answers.filter(answer => answer.headers.get('idempotency-replayed') === 'true')).toHaveLength(3);
    expect(answers.every(answer => answer.status === 201 && answer.headers.get('location'))).toBe(true);
    const other = await admin.client.post('/users', person(), { headers });
    expect(other.body).toMatchObject({ status: 422, code: 'IDEMPOTENCY_KEY_REUSED' });
  });
});

describe('PATCH /users/:id', () => {
  it('changes a person and ends their sessions with a new role', async () => {
    const someone = await join(admin, app.config.dataDir);
    const answer = await admin.client.patch(`/users/${someone.user.id}`, { role: 'MANAGER', teamIds: [otherTeam.id] });
    expect(answer.body).toMatchObject({ role: 'MANAGER', teams: [{ id: otherTeam.id }], version: someone.user.version + 1 });
    expect((await someone.client.get('/users/me')).status).toBe(401);
    expect((await http.post('/auth/refresh', { refreshToken: someone.refreshToken })).status).toBe(401);
  });

  it('invites an active person at their new address, where they choose a password again', async () => {
    const someone = await join(admin, app.config.dataDir);
    const email = uniqueEmail('moved');
    const answer = await admin.client.patch(`/users/${someone.user.id}`, { email });
    expect(answer.body).toMatchObject({ email, status: 'INVITED' });
    expect((await someone.client.get('/users/me')).status).toBe(401);
    expect((await http.post('/auth/login', { email, password: PASSWORD })).status).toBe(401);
    const { token } = await readMailLink(app.config.dataDir, email);
    expect((await http.post('/auth/accept-invite', { token, password: 'another long password' })).status).toBe(200);
    expect((await http.post('/auth/login', { email, password: 'another long password' })).status).toBe(200);
  });

  it('does nothing where nothing changes', async () => {
    const { body } = await admin.client.get(`/users/${employee.user.id}`);
    const same = { firstName: body.firstName, role: body.role, phone: body.phone };
    expect((await admin.client.patch(`/users/${employee.user.id}`, same)).body).toEqual(body);
  });

  it('does not touch people of another company', async () => {
    const { body: before } = await employee.client.get('/users/me');
    expect((await stranger.client.patch(`/users/${employee.user.id}`, { firstName: 'Gotcha' })).status).toBe(404);
    expect((await employee.client.get('/users/me')).body).toEqual(before);
  });

  it('changes nothing when nothing is asked', async () => {
    const { body } = await admin.client.get(`/users/${employee.user.id}`);
    expect((await admin.client.patch(`/users/${employee.user.id}`, {})).body).toEqual(body);
  });
});

describe('the last active administrator', () => {
  it('cannot be demoted or deactivated', async () => {
    const lone = await signUp(http);
    const demoted = await lone.client.patch(`/users/${lone.user.id}`, { role: 'EMPLOYEE' });
    expect(demoted.body).toMatchObject({ status: 409, code: 'USERS_LAST_ADMIN' });
    expect((await lone.client.post(`/users/${lone.user.id}/deactivate`)).body).toMatchObject({ code: 'USERS_LAST_ADMIN' });
    expect((await lone.client.get('/users/me')).body.role).toBe('ADMIN');
  });

  it('remains when two demote each other at once', async () => {
    for (let round = 0; round < 5; round++) {
      const one = await signUp(http);
      const two = await join(one, app.config.dataDir, { role: 'ADMIN' });
      const answers = await Promise.all([
        one.client.patch(`/users/${two.user.id}`, { role: 'EMPLOYEE' }),
        two.client.post(`/users/${one.user.id}/deactivate`),
      ]);
      const done = answers.filter(answer => answer.status === 200);
      expect(done).toHaveLength(1);
      const [left] = [one, two].filter((_, at) => answers[at]!.status === 200);
      expect((await left!.client.get('/users?role=ADMIN&status=ACTIVE')).body.total).toBe(1);
    }
  });
});

describe('POST /users/:id/deactivate and /reactivate', () => {
  it('locks a person out at once and lets them in again', async () => {
    const someone = await join(admin, app.config.dataDir);
    const gone = await admin.client.post(`/users/${someone.user.id}/deactivate`);
    expect(gone.body.status).toBe('DEACTIVATED');
    expect((await someone.client.get('/users/me')).status).toBe(401);
    expect((await http.post('/auth/login', { email: someone.email, password: PASSWORD })).status).toBe(401);
    expect((await admin.client.post(`/users/${someone.user.id}/deactivate`)).body).toEqual(gone.body);
    expect((await admin.client.post(`/users/${someone.user.id}/reactivate`)).body.status).toBe('ACTIVE');
    expect((await http.post('/auth/login', { email: someone.email, password: PASSWORD })).status).toBe(200);
  });

  it('gives the address free for the next employer', async () => {
    const email = uniqueEmail('mover');
    const someone = await join(admin, app.config.dataDir, { email });
    await admin.client.post(`/users/${someone.user.id}/deactivate`);
    const next = await signUp(http);
    const mailsBefore = (await readMails(app.config.dataDir)).filter(mail => mail.to === email).length;
    await next.client.post('/users', person({ email }));
    const token = await until(async () => {
      const mails = (await readMails(app.config.dataDir)).filter(
        mail => mail.to === email && mail.text.includes(next.company.name),
      );
      return mails.length > 0 && mailsBefore > 0 && /token=([\w-]+)/.exec(mails[0]!.text)?.[1];
    });
    expect((await http.post('/auth/accept-invite', { token, password: 'another long password' })).status).toBe(200);
    expect((await admin.client.post(`/users/${someone.user.id}/reactivate`)).body.status).toBe('ACTIVE');
    const login = (password: string) => http.post('/auth/login', { email, password });
    expect((await login(PASSWORD)).body.user.id).toBe(someone.user.id);
    expect((await login('another long password')).body.user.id).not.toBe(someone.user.id);
  });

  it('is not for others, nor for another company', async () => {
    expect((await manager.client.post(`/users/${employee.user.id}/deactivate`)).status).toBe(403);
    expect((await stranger.client.post(`/users/${employee.user.id}/deactivate`)).status).toBe(404);
    expect((await stranger.client.post(`/users/${employee.user.id}/reactivate`)).status).toBe(404);
    expect((await employee.client.get('/users/me')).body.status).toBe('ACTIVE');
  });
});
