import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMailer } from '../../mixins/mail/mailer';

const dataDir = mkdtempSync(join(tmpdir(), 'hiver-mails-'));
const LINK = `https://app.example.com/a-rather-long-path/accept-invite?token=${'x'.repeat(43)}&from=${'y'.repeat(80)}`;

function start(args: readonly string[], folder = dataDir) {
  const child = spawn(process.execPath, ['--import', 'tsx', resolve('scripts/mails.ts'), ...args], {
    env: { ...process.env, DATA_DIR: folder, NODE_ENV: 'test' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { child, exited: once(child, 'exit').then(([code]) => code as number) };
}

async function run(args: readonly string[] = [], folder = dataDir) {
  const { child, exited } = start(args, folder);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { stdout, stderr, code: await exited };
}

async function write(id: string, address: string, subject: string, at: number, more = ''): Promise<void> {
  const folder = join(dataDir, 'mail');
  const mailer = createMailer({ smtpUrl: undefined, folder, from: 'Hiver <no-reply@hiver.test>', host: 'hiver.test' });
  const mail = { subject, text: `Écrit pour vous.\n\nAccepter :\n${LINK}\n${more}`, html: `<a href="${LINK}">Accepter</a>` };
  await mailer.send({ ...mail, id, to: { name: 'Zoë Martin', address } });
  utimesSync(join(folder, `${id}.eml`), at, at);
}

beforeAll(async () => {
  await write('b', 'zoe@example.com', 'Première', 1_000);
  await write('a', 'ada@example.com', 'Deuxième', 2_000);
  for (let i = 0; i < 60; i++)
    await write(`old-${i}`, 'others@example.com', `Ancien ${i}`, 500, 'Et ainsi de suite.\n'.repeat(500));
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

describe('npm run mails', () => {
  it('prints every mail decoded, the newest first, with its link whole', async () => {
    const { stdout, code } = await run();
    expect(code).toBe(0);
    expect(stdout.match(/^Subject: .*$/gm)?.slice(0, 2)).toEqual(['Subject: Deuxième', 'Subject: Première']);
    expect(stdout.match(/^Subject: /gm)).toHaveLength(62);
    expect(stdout).toContain(
      'From:    "Hiver" <no-reply@hiver.test>\nTo:      "Zoë Martin" <ada@example.com>\nSubject: Deuxième\nDate:    20',
    );
    expect(stdout.split('\n')).toContain(LINK);
    expect(stdout).toContain('Écrit pour vous.');
  });

  it('prints the mails to one address only', async () => {
    const { stdout } = await run(['ZOE@example.com']);
    expect(stdout.match(/^Subject: .*$/gm)).toEqual(['Subject: Première']);
  });

  it('says so when there is none', async () => {
    expect(await run(['nobody@example.com'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^No mails to nobody@example\.com .*yet\.\n$/),
    });
    expect(await run([], join(dataDir, 'elsewhere'))).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^No mails .*yet\.\n$/),
    });
  });

  it('ends quietly when its reader has seen enough', async () => {
    const { child, exited } = start([]);
    await once(child.stdout, 'data');
    child.stdout.destroy();
    expect(await text(child.stderr)).toBe('');
    expect(await exited).toBe(0);
  });
});
