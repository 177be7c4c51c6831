import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { readMails } from '../helpers/mails';
import { join, type SignedIn, signUp } from '../helpers/people';
import { until } from '../helpers/until';

const file = (name: string) => readFileSync(`${__dirname}/../data/${name}`);

let app: App;
let http: Client;
let admin: SignedIn;

beforeAll(async () => {
  app = await startApp();
  http = new Client(app.url);
});

const usersOf = async ({ client }: SignedIn) => (await client.get('/users')).body.total;

describe('POST /users/import', () => {
  beforeAll(async () => {
    admin = await signUp(http);
  });

  it('checks a file without changing anything', async () => {
    const answer = await admin.client.csv('/users/import?dryRun=true', file('people-excel-fr.csv'));
    expect(answer.status).toBe(200);
    expect(answer.body.valid).toBe(500);
    expect(answer.body.teamsToCreate).toHaveLength(13);
    expect(await usersOf(admin)).toBe(1);
  });

  it('imports what a French Excel saves, and sends each person one mail', async () => {
    const answer = await admin.client.csv('/users/import', file('people-excel-fr.csv'));
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({ imported: 500, teamsCreated: 13 });
    expect(await usersOf(admin)).toBe(501);
    expect((await admin.client.get('/teams')).body.total).toBe(13);
    const mails = await until(
      async () => {
        const found = await readMails(app.config.dataDir);
        return found.length >= 501 && found;
      },
      { timeout: 60_000, every: 200 },
    );
    expect(mails && new Set(mails.map(mail => mail.to)).size).toBe(501);
  });

  it('refuses the same file again, line by line, and imports nothing of it', async () => {
    const answer = await admin.client.csv('/users/import', file('people-excel-fr.csv'));
    expect(answer.body).toMatchObject({ status: 422, code: 'IMPORT_INVALID', errorCount: 500 });
    expect(answer.body.errors).toHaveLength(100);
    expect(answer.body.errors[0]).toMatchObject({ line: 2, field: 'email' });
    expect(await usersOf(admin)).toBe(501);
  });

  it('does not tell that an address exists in another company', async () => {
    const other = await signUp(http);
    expect((await other.client.csv('/users/import?dryRun=true', file('people-excel-fr.csv'))).body.valid).toBe(500);
    expect((await other.client.csv('/users/import', file('people.csv'))).body.imported).toBe(40);
  });

  it('names each fault of a broken file with its line and field', async () => {
    const other = await signUp(http);
    const answer = await other.client.csv('/users/import', file('people-broken.csv'));
    expect(answer.body).toMatchObject({ status: 422, code: 'IMPORT_INVALID', errorCount: 9 });
    const found = answer.body.errors.map((error: { line: number; field: string | null }) => [error.line, error.field]);
    expect(found).toEqual([
      [3, 'email'],
      [4, 'email'],
      [5, 'role'],
      [6, 'timeZone'],
      [7, 'startsOn'],
      [8, 'firstName'],
      [9, 'firstName'],
      [10, 'email'],
      [12, null],
    ]);
    expect(await usersOf(other)).toBe(1);
  });

  it('refuses other encodings and an empty file', async () => {
    const latin = await admin.client.csv('/users/import', file('people-latin1.csv'));
    expect(latin.body).toMatchObject({ status: 422, code: 'IMPORT_NOT_UTF8', byteOffset: 27 });
    const empty = await admin.client.csv('/users/import', file('people-empty.csv'));
    expect(empty.body).toMatchObject({ status: 422, code: 'IMPORT_NO_HEADER' });
  });

  it('takes CSV only, from an ADMIN only', async () => {
    expect((await admin.client.post('/users/import', { csv: 'x' })).status).toBe(415);
    const employee = await join(admin, app.config.dataDir);
    expect((await employee.client.csv('/users/import', file('people.csv'))).status).toBe(403);
  });

  it('imports one file once, however often the button is tapped', async () => {
    const other = await signUp(http);
    const answers = await Promise.all([1, 2, 3].map(() => other.client.csv('/users/import', file('people.csv'))));
    expect(answers.filter(answer => answer.status === 201)).toHaveLength(1);
    expect(await usersOf(other)).toBe(41);
  });
});
