import { cpSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../helpers/client';
import { occupyPort, Running, temporaryFolder } from '../helpers/processes';
import { until } from '../helpers/until';

const RUNNER = ['--import', 'tsx', 'node_modules/moleculer/bin/moleculer-runner.js', '--hot', '--repl'];
const ARGS = [...RUNNER, '--config', 'moleculer.config.ts', 'services/**/*.service.ts'];
const SERVED = { timeout: 5_000, every: 10 };

let folder: string;
let run: Running;
let api: Client;

/** A copy of the code, so that the test may edit it. */
beforeEach(async () => {
  folder = temporaryFolder();
  for (const name of ['services', 'mixins', 'moleculer.config.ts', 'package.json', 'tsconfig.json']) {
    cpSync(name, join(folder, name), { recursive: true });
  }
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  // Names of options that moleculer-runner would take from the environment.
  const foreign = { NAMESPACE: 'else', TRANSPORTER: 'nats://nowhere', LOGGER: 'true', SERVICES: 'none' };
  // A port of its own: a reloaded API would take another free one.
  const { port, close } = await occupyPort();
  close();
  run = new Running({ DATA_DIR: join(folder, 'data'), PORT: String(port), ...foreign }, { args: ARGS, cwd: folder });
  api = new Client(await run.url());
});

function edit(file: string, from: string, to: string, isRename = false): void {
  const path = join(folder, file);
  const text = readFileSync(path, 'utf8');
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
  // By renaming, as many editors save; by writing, as others do.
  if (isRename) writeFileSync(`${path}.new`, text.replace(from, to));
  if (isRename) renameSync(`${path}.new`, path);
  else writeFileSync(path, text.replace(from, to));
}

const titleOfNothing = async () => (await api.get('/no-such-path')).body.title;

describe('npm run dev', () => {
  it('serves what is saved, keeps the data, and survives a syntax error', async () => {
    const user = { firstName: 'Ada', lastName: 'Okafor', email: 'ada@acme.example', password: 'a long walk on the beach' };
    const { body } = await api.post('/auth/sign-up', { company: { name: 'Acme' }, user });
    const me = () => api.get('/users/me', { token: body.accessToken });

    edit('mixins/errors.ts', 'There is nothing here.', 'Nothing at all.');
    await until(async () => (await titleOfNothing()) === 'Nothing at all.', SERVED);
    for (const [from, to] of [
      ['Nothing at all.', 'Still nothing.'],
      ['Still nothing.', 'And again.'],
      ['And again.', 'For the last time.'],
    ] as const) {
      edit('mixins/errors.ts', from, to, true);
      await until(async () => (await titleOfNothing()) === to, SERVED);
    }
    await until(async () => (await me()).body.email === user.email, SERVED);

    edit('services/users/users.service.ts', "name: 'users',", "name: 'users',,");
    await until(() => /Not reloaded.*users\.service\.ts/s.test(run.output), SERVED);
    expect((await me()).status).toBe(200);

    edit('services/users/users.service.ts', "name: 'users',,", "name: 'users', settings: { $noVersionPrefix: true },");
    run.output = '';
    await until(() => /Reloaded .*users/.test(run.output), SERVED);
    await until(async () => (await me()).body.email === user.email, SERVED);

    run.kill('SIGTERM');
    expect(await run.ended(5_000)).toBe(0);
  });
});
