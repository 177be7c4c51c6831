import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKey, keyFolder, toPem, writeKeyFile } from '../../mixins/auth/key-files';
import { keysOf, keysOfPem } from '../../mixins/auth/keys';
import { signAccessToken } from '../../mixins/auth/tokens';
import { smallBroker, somebody } from '../helpers/small-broker';
import { until } from '../helpers/until';

let dataDir: string;
beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'hiver-rotate-'));
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

const run = promisify(execFile);
const rotate = (env: NodeJS.ProcessEnv) =>
  run('tsx', ['scripts/keys-rotate.ts'], {
    env: { PATH: `${join(process.cwd(), 'node_modules/.bin')}:${process.env.PATH}`, ...env },
  });

describe('npm run keys:rotate', () => {
  it('publishes a new key of a running server within seconds and logs nobody out', async () => {
    const { broker, callAs } = await smallBroker(
      [{ name: 'one', actions: { who: { auth: 'authenticated', handler: (ctx: { meta: { user: object } }) => ctx.meta.user } } }],
      { dataDir },
    );
    const user = somebody();
    const { accessToken } = signAccessToken(broker, user);
    const { stdout } = await rotate({ DATA_DIR: dataDir });
    const published = () =>
      keysOf(broker)
        .jwks()
        .keys.map(({ kid }) => kid);
    await until(() => published().length === 2);
    expect(stdout).toContain(`Key ${published()[1]} is published now and signs from`);
    await expect(broker.call('one.who', {}, { meta: { token: accessToken } })).resolves.toEqual(user);
    await expect(callAs(user, 'one.who')).resolves.toEqual(user);
    for (const file of readdirSync(keyFolder(dataDir))) expect(statSync(join(keyFolder(dataDir), file)).mode & 0o777).toBe(0o600);
  });

  it('removes keys whose last token has expired, and no others', async () => {
    const folder = keyFolder(dataDir);
    const hoursAgo = (hours: number) => Date.now() - hours * 3_600_000;
    const [expired, signing, young] = [
      writeKeyFile(folder, hoursAgo(9)),
      writeKeyFile(folder, hoursAgo(8)),
      writeKeyFile(folder, hoursAgo(1.1)),
    ];
    const { stdout } = await rotate({ DATA_DIR: dataDir });
    expect(stdout).toContain('1 key(s) whose tokens have all expired were removed');
    const left = readdirSync(folder).map(name => join(folder, name));
    expect(left).not.toContain(expired.path);
    expect(left).toContain(signing.path);
    expect(left).toContain(young.path);
  });

  it('says so where there are no keys, and fails', async () => {
    const elsewhere = join(dataDir, 'elsewhere');
    await expect(rotate({ DATA_DIR: elsewhere })).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(elsewhere) });
  });

  it('where keys are variables, prints one and how to go on', async () => {
    const { stdout } = await rotate({ DATA_DIR: dataDir, JWT_PRIVATE_KEYS: toPem(generateKey()) });
    expect(keysOfPem(stdout)).toHaveLength(1);
    expect(stdout).toContain('JWT_PRIVATE_KEYS');
  });
});
