import { chownSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { isAlive } from '../../mixins/embedded/processes';
import { Client } from '../helpers/client';
import { freshDatabase } from '../helpers/database';
import { buildApp, occupyPort, postgresOf, Running, temporaryFolder } from '../helpers/processes';
import { until } from '../helpers/until';

const isRoot = process.getuid?.() === 0;
const PASSWORD = 'a long walk on the beach';
const account = (email: string) => ({
  company: { name: 'Acme' },
  user: { firstName: 'Ada', lastName: 'Okafor', email, password: PASSWORD },
});

beforeAll(buildApp);

/** Everything that a start without success may leave is what was there before. */
function expectNothingLeft(dataDir: string): void {
  expect(existsSync(join(dataDir, 'lock'))).toBe(false);
  const pid = postgresOf(dataDir);
  expect(pid === undefined || !isAlive(pid)).toBe(true);
}

/** What a person reads of a failed start, without the log. */
function complaint(run: Running): string[] {
  return run.output.split('\n').filter(line => line.trim() !== '' && !line.startsWith('{'));
}

describe('start', () => {
  it('makes everything at the first start and finds it again at the second', async () => {
    const dataDir = join(temporaryFolder(), 'data');
    const first = new Running({ DATA_DIR: dataDir });
    const api = new Client(await first.url());
    expect((await api.get('/health/ready')).status).toBe(200);
    const { status, body } = await api.post('/auth/sign-up', account('ada@acme.example'));
    expect(status).toBe(201);
    first.kill('SIGTERM');
    expect(await first.ended(5_000)).toBe(0);
    expectNothingLeft(dataDir);

    const second = new Running({ DATA_DIR: dataDir });
    const again = new Client(await second.url());
    // The signing keys are kept as well as the data.
    expect((await again.get('/users/me', { token: body.accessToken })).body).toMatchObject({ email: 'ada@acme.example' });
    expect((await again.post('/auth/login', { email: 'ada@acme.example', password: PASSWORD })).status).toBe(200);
    second.kill('SIGINT');
    expect(await second.ended(5_000)).toBe(0);
  });

  it('prints one short screen', async () => {
    const run = new Running({ DATA_DIR: temporaryFolder() });
    const url = (await run.url()).replace('127.0.0.1', 'localhost');
    const screen = run.output.split('\n').filter(line => line && !line.startsWith('{'));
    expect(screen.length).toBeLessThanOrEqual(8);
    expect(screen.join('\n')).toContain(`${url}/docs`);
    expect(screen.join('\n')).toMatch(/mails .*npm run mails/);
    expect(screen.join('\n')).toMatch(/npm run demo/);
  });

  it('keeps its secrets from other users', async () => {
    const dataDir = temporaryFolder();
    await new Running({ DATA_DIR: dataDir }).url();
    const keys = readdirSync(join(dataDir, 'keys')).map(name => join('keys', name));
    expect(keys).not.toEqual([]);
    for (const name of ['postgres.password', 'seal.key', 'postgres.log', ...keys]) {
      expect([name, (statSync(join(dataDir, name)).mode & 0o777).toString(8)]).toEqual([name, '600']);
    }
  });

  it('listens on this machine only', async () => {
    const { port } = new URL(await new Running({ DATA_DIR: temporaryFolder() }).url());
    const outside = Object.values(networkInterfaces()).flatMap(list => list ?? []);
    for (const { address } of outside.filter(({ internal, family }) => !internal && family === 'IPv4')) {
      await expect(fetch(`http://${address}:${port}/health/live`)).rejects.toThrow();
    }
  });
});

describe('start after a crash', () => {
  it('ends the PostgreSQL that kill -9 left behind, and finds what was answered', async () => {
    const dataDir = temporaryFolder();
    const first = new Running({ DATA_DIR: dataDir });
    const { status } = await new Client(await first.url()).post('/auth/sign-up', account('eve@acme.example'));
    expect(status).toBe(201);
    const orphan = postgresOf(dataDir)!;
    first.kill('SIGKILL');
    expect(await first.ended()).toBe('SIGKILL');
    expect(isAlive(orphan)).toBe(true);

    const second = new Running({ DATA_DIR: dataDir });
    const login = await new Client(await second.url()).post('/auth/login', { email: 'eve@acme.example', password: PASSWORD });
    expect(login.status).toBe(200);
    expect(isAlive(orphan)).toBe(false);
    expect(postgresOf(dataDir)).not.toBe(orphan);
  });

  it('recovers when PostgreSQL was killed too, with all its files left behind', async () => {
    const dataDir = temporaryFolder();
    const first = new Running({ DATA_DIR: dataDir });
    await new Client(await first.url()).post('/auth/sign-up', account('kim@acme.example'));
    const postgres = postgresOf(dataDir)!;
    first.kill('SIGKILL');
    process.kill(postgres, 'SIGKILL');
    await first.ended();
    expect(existsSync(join(dataDir, 'lock'))).toBe(true);
    expect(existsSync(join(dataDir, 'postgres', 'postmaster.pid'))).toBe(true);

    const second = new Running({ DATA_DIR: dataDir });
    const login = await new Client(await second.url()).post('/auth/login', { email: 'kim@acme.example', password: PASSWORD });
    expect(login.status).toBe(200);
  });

  it('is not led astray by process ids that others have by now', async () => {
    const dataDir = temporaryFolder();
    const first = new Running({ DATA_DIR: dataDir });
    await first.url();
    first.kill('SIGTERM');
    await first.ended();
    writeFileSync(join(dataDir, 'lock'), JSON.stringify({ pid: process.pid, startedAt: 'long ago' }));
    writeFileSync(join(dataDir, 'postgres', 'postmaster.pid'), `${process.pid}\n`);
    expect((await new Client(await new Running({ DATA_DIR: dataDir }).url()).get('/health/ready')).status).toBe(200);
  });

  it('starts anew what was killed in the middle of its first start', async () => {
    const dataDir = temporaryFolder();
    const first = new Running({ DATA_DIR: dataDir });
    await until(() => readdirSync(dataDir).some(name => name.startsWith('postgres.unfinished')), { every: 1 });
    first.kill('SIGKILL');
    await first.ended();
    expect((await new Client(await new Running({ DATA_DIR: dataDir }).url()).get('/health/ready')).status).toBe(200);
  });

  it('brings back a PostgreSQL that dies while it runs', async () => {
    const dataDir = temporaryFolder();
    const run = new Running({ DATA_DIR: dataDir });
    const api = new Client(await run.url());
    await api.post('/auth/sign-up', account('lou@acme.example'));
    process.kill(postgresOf(dataDir)!, 'SIGKILL');
    await until(async () => (await api.get('/health/ready')).status === 503, { what: '503' });
    await until(async () => (await api.get('/health/ready')).status === 200, { timeout: 20_000, what: 'Recovery' });
    expect((await api.post('/auth/login', { email: 'lou@acme.example', password: PASSWORD })).status).toBe(200);
  });
});

describe('stop', () => {
  it('answers an open request, refuses new ones, and ends within 5 s', async () => {
    const dataDir = temporaryFolder();
    const run = new Running({ DATA_DIR: dataDir });
    const url = new URL(await run.url());
    const open = await halfRequest(url);
    run.kill('SIGTERM');
    const stopped = performance.now();
    await until(async () => !(await accepts(url)), { what: 'Refusal of new connections' });
    open.finish();
    expect(await open.answer).toMatch(/^HTTP\/1\.1 401 .*AUTH_INVALID_CREDENTIALS/s);
    expect(await run.ended(5_000)).toBe(0);
    expect(performance.now() - stopped).toBeLessThan(5_000);
    expectNothingLeft(dataDir);
  });

  it('ends within 5 s also when an open request never goes on', async () => {
    const dataDir = temporaryFolder();
    const run = new Running({ DATA_DIR: dataDir });
    await halfRequest(new URL(await run.url()));
    run.kill('SIGTERM');
    expect(await run.ended(5_000)).toBe(0);
    expectNothingLeft(dataDir);
  });

  it('ends at once at the second Ctrl-C', async () => {
    const dataDir = temporaryFolder();
    const run = new Running({ DATA_DIR: dataDir });
    await halfRequest(new URL(await run.url()));
    const started = performance.now();
    const again = setInterval(() => run.kill('SIGINT'), 100);
    try {
      expect(await run.ended(2_500)).toBe(130);
    } finally {
      clearInterval(again);
    }
    // npm and the terminal send one each for one keystroke.
    expect(performance.now() - started).toBeGreaterThan(500);
    await until(() => postgresOf(dataDir) === undefined, { what: 'The end of PostgreSQL' });
  });
});

describe('a start that cannot be', () => {
  it('says which variables are wrong, all at once', async () => {
    const run = new Running({ PORT: 'http', SMTP_URL: 'mail.example.com', LOG_LEVEL: 'loud' });
    expect(await run.ended()).toBe(1);
    for (const name of ['PORT', 'SMTP_URL', 'LOG_LEVEL']) expect(run.output).toContain(`- ${name} `);
  });

  it('names what a mesh node lacks', async () => {
    const run = new Running({ HIVER_SERVICES: 'users,api' });
    expect(await run.ended()).toBe(1);
    for (const name of ['DATABASE_URL_USERS', 'JWT_PRIVATE_KEYS', 'SEAL_KEYS'])
      expect(run.output).toContain(`${name} is missing`);
  });

  it('says that the port is taken, before anything is made', async () => {
    const dataDir = join(temporaryFolder(), 'data');
    const { port, close } = await occupyPort();
    const run = new Running({ DATA_DIR: dataDir, PORT: String(port) });
    expect(await run.ended()).toBe(1);
    close();
    expect(complaint(run)).toHaveLength(2);
    expect(run.output).toMatch(new RegExp(`address already in use 127.0.0.1:${port}.*\\n.*PORT`));
    expect(existsSync(dataDir)).toBe(false);
  });

  it('says that another instance has the data folder, which goes on undisturbed', async () => {
    const dataDir = temporaryFolder();
    const first = new Running({ DATA_DIR: dataDir });
    const api = new Client(await first.url());
    const postgres = postgresOf(dataDir);
    const second = new Running({ DATA_DIR: dataDir });
    expect(await second.ended()).toBe(1);
    expect(complaint(second)).toHaveLength(2);
    expect(second.output).toContain(`in use by another instance (process ${first.pid})`);
    expect((await api.get('/health/ready')).status).toBe(200);
    expect(postgresOf(dataDir)).toBe(postgres);
  });

  it('says that the data folder cannot be written', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), '');
    const run = new Running({ DATA_DIR: join(folder, 'file', 'data') });
    expect(await run.ended()).toBe(1);
    expect(complaint(run)).toHaveLength(2);
    expect(run.output).toMatch(/cannot be written \(ENOTDIR\).*\n.*DATA_DIR/);
  });

  it.runIf(process.platform === 'linux')('says so also where no folder can be made at all', async () => {
    const run = new Running({ DATA_DIR: '/proc/hiver' });
    expect(await run.ended()).toBe(1);
    expect(run.output).toMatch(/cannot be written \(ENOENT\).*\n.*DATA_DIR/);
  });

  it('says that the data folder belongs to somebody else', async () => {
    const folder = temporaryFolder(isRoot ? 0o755 : 0o555);
    const run = new Running({ DATA_DIR: folder }, isRoot ? { uid: 65_534, gid: 65_534 } : {});
    expect(await run.ended()).toBe(1);
    expect(run.output).toMatch(/cannot be written \(EACCES\).*\n.*DATA_DIR/);
    expect(readdirSync(folder)).toEqual([]);
  });

  it.runIf(isRoot)('runs as an ordinary user on a folder of their own', async () => {
    const folder = temporaryFolder();
    chownSync(folder, 65_534, 65_534);
    const run = new Running({ DATA_DIR: folder }, { uid: 65_534, gid: 65_534 });
    expect((await new Client(await run.url()).get('/health/ready')).status).toBe(200);
  });

  it.runIf(isRoot)('names the folder that is closed to the user of PostgreSQL', async () => {
    const home = temporaryFolder(0o700);
    const dataDir = join(home, 'hiver', '.data');
    const run = new Running({ DATA_DIR: dataDir });
    expect(await run.ended()).toBe(1);
    expect(complaint(run)).toHaveLength(2);
    expect(run.output).toContain(`${home} is closed to PostgreSQL`);
    expect(run.output).toContain(`chmod o+x ${home}`);
    expectNothingLeft(dataDir);
  });

  it('says that the data is of another PostgreSQL version, and leaves it alone', async () => {
    const dataDir = temporaryFolder();
    mkdirSync(join(dataDir, 'postgres'));
    writeFileSync(join(dataDir, 'postgres', 'PG_VERSION'), '17\n');
    const run = new Running({ DATA_DIR: dataDir });
    expect(await run.ended()).toBe(1);
    expect(complaint(run)).toHaveLength(2);
    expect(run.output).toMatch(/is of PostgreSQL 17, and this is PostgreSQL 18\.\n/);
    expect(readdirSync(join(dataDir, 'postgres'))).toEqual(['PG_VERSION']);
    expectNothingLeft(dataDir);
  });

  it('says which migration failed, and applies nothing of it', async () => {
    const dataDir = temporaryFolder();
    const url = await freshDatabase('broken');
    const database = new pg.Client({ connectionString: url });
    await database.connect();
    await database.query('create table teams (unexpected int)');
    const run = new Running({ DATA_DIR: dataDir, DATABASE_URL_USERS: url });
    expect(await run.ended()).toBe(1);
    expect(complaint(run).length).toBeLessThanOrEqual(2);
    expect(run.output).toMatch(/0001-companies-people-teams.*"teams" already exists/);
    const { rows } = await database.query(
      "select relname from pg_class where relkind = 'r' and relname in ('companies', 'users', 'teams')",
    );
    await database.end();
    expect(rows).toEqual([{ relname: 'teams' }]);
    expectNothingLeft(dataDir);
  });
});

async function accepts(url: URL): Promise<boolean> {
  const socket = connect(Number(url.port), url.hostname);
  const outcome = await new Promise<boolean>(resolve =>
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
  );
  socket.destroy();
  return outcome;
}

/** A login whose body has not arrived in full: open until `finish`. */
async function halfRequest(url: URL): Promise<{ finish: () => void; answer: Promise<string> }> {
  const body = JSON.stringify({ email: 'nobody@acme.example', password: PASSWORD });
  const socket = connect(Number(url.port), url.hostname);
  let received = '';
  socket.setEncoding('utf8').on('data', text => {
    received += text;
  });
  socket.on('error', () => undefined);
  const answer = new Promise<string>(resolve => socket.once('close', () => resolve(received)));
  // The server says 100 when it has begun with the request.
  const head = ['POST /auth/login HTTP/1.1', `Host: ${url.host}`, 'Content-Type: application/json', 'Connection: close'];
  socket.write([...head, 'Expect: 100-continue', `Content-Length: ${body.length}`, '', ''].join('\r\n'));
  await until(() => received.includes('100 Continue'), { what: '100 Continue' });
  received = '';
  socket.write(body.slice(0, 10));
  return { finish: () => void socket.write(body.slice(10)), answer };
}
