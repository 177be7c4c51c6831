import { beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { join, type SignedIn, signUp } from '../helpers/people';

let app: App;
let admin: SignedIn;
let manager: SignedIn;
let employee: SignedIn;
let stranger: SignedIn;

beforeAll(async () => {
  app = await startApp();
  const http = new Client(app.url);
  admin = await signUp(http);
  stranger = await signUp(http);
  manager = await join(admin, app.config.dataDir, { role: 'MANAGER' });
  employee = await join(admin, app.config.dataDir);
});

describe('POST /teams', () => {
  it('makes a team, and its manager sees the people in it whole', async () => {
    const team = await admin.client.post('/teams', { name: 'Atelier A', managerIds: [manager.user.id] });
    expect(team.status).toBe(201);
    expect(team.headers.get('location')).toBe(`/teams/${team.body.id}`);
    expect(team.body).toMatchObject({ name: 'Atelier A', managerIds: [manager.user.id], version: 1 });
    expect((await manager.client.get(`/users/${employee.user.id}`)).body.email).toBeUndefined();
    await admin.client.patch(`/users/${employee.user.id}`, { teamIds: [team.body.id] });
    expect((await manager.client.get(`/users/${employee.user.id}`)).body.email).toBe(employee.email);
  });

  it('refuses a name that is taken, in any case', async () => {
    await admin.client.post('/teams', { name: 'Lagerhaus' });
    expect((await admin.client.post('/teams', { name: 'LAGERHAUS' })).body).toMatchObject({
      status: 409,
      code: 'TEAMS_NAME_TAKEN',
    });
    expect((await stranger.client.post('/teams', { name: 'Lagerhaus' })).status).toBe(201);
  });

  it('refuses a manager of another company', async () => {
    const answer = await admin.client.post('/teams', { name: 'Spies', managerIds: [stranger.user.id] });
    expect(answer.body).toMatchObject({ status: 422, code: 'TEAMS_MANAGER_UNKNOWN', errors: [{ field: 'managerIds.0' }] });
    expect((await admin.client.get('/teams?search=spies')).body.total).toBe(0);
  });

  it('is for ADMIN', async () => {
    expect((await manager.client.post('/teams', { name: 'Mine' })).status).toBe(403);
    expect((await employee.client.post('/teams', { name: 'Mine' })).status).toBe(403);
  });
});

describe('PATCH /teams/:id', () => {
  it('renames it for everybody in it', async () => {
    const { body: team } = await admin.client.post('/teams', { name: 'Old name' });
    await admin.client.patch(`/users/${manager.user.id}`, { teamIds: [team.id] });
    const answer = await admin.client.patch(`/teams/${team.id}`, { name: 'New name' }, { headers: { 'if-match': '"1"' } });
    expect(answer.body).toMatchObject({ name: 'New name', version: 2 });
    expect((await admin.client.get(`/users/${manager.user.id}`)).body.teams).toEqual([{ id: team.id, name: 'New name' }]);
    const stale = await admin.client.patch(`/teams/${team.id}`, { name: 'Newer' }, { headers: { 'if-match': '"1"' } });
    expect(stale.status).toBe(412);
  });

  it('knows no team of another company', async () => {
    const { body: team } = await admin.client.post('/teams', { name: 'Ours' });
    expect((await stranger.client.patch(`/teams/${team.id}`, { name: 'Theirs' })).status).toBe(404);
    expect((await stranger.client.get(`/teams/${team.id}`)).status).toBe(404);
    expect((await employee.client.get(`/teams/${team.id}`)).body.name).toBe('Ours');
  });
});

describe('GET, PATCH /companies/current', () => {
  it('shows it to everybody and lets an ADMIN change it', async () => {
    const before = await employee.client.get('/companies/current');
    expect(before.body.id).toBe(admin.company.id);
    const answer = await admin.client.patch('/companies/current', { locale: 'fr', workingWeek: [7, 1, 2, 3] });
    expect(answer.body).toMatchObject({ locale: 'fr', workingWeek: [1, 2, 3, 7], version: before.body.version + 1 });
    expect((await employee.client.patch('/companies/current', { name: 'Mine' })).status).toBe(403);
  });

  it.each([
    ['workingWeek.0', { workingWeek: [8] }],
    ['workingWeek', { workingWeek: [] }],
    ['workingWeek', { workingWeek: [1, 1] }],
    ['timeZone', { timeZone: 'Mars/Base' }],
    ['name', { name: '' }],
  ])('refuses %s', async (field, change) => {
    expect((await admin.client.patch('/companies/current', change)).body).toMatchObject({ status: 422, errors: [{ field }] });
  });
});
