import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Client } from '../helpers/client';
import { readMails } from '../helpers/mails';
import { signUp } from '../helpers/people';
import { buildApp, temporaryFolder } from '../helpers/processes';
import { until } from '../helpers/until';
import { describeWhereKafkaCanBeHad } from '../kafka/describe';

const TIMEOUT = 180_000;

class Mesh {
  output = '';
  readonly #child: ChildProcess;

  constructor(dataDir: string, ...args: string[]) {
    this.#child = spawn(process.execPath, ['--import', 'tsx', 'scripts/mesh.ts', '--any-ports', ...args], {
      env: { PATH: process.env.PATH, DATA_DIR: dataDir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', text => {
        this.output += text;
      });
    }
  }

  async url(): Promise<string> {
    return until(() => /API +(http:\S+)/.exec(this.output)?.[1], {
      timeout: 90_000,
      every: 100,
      what: `The start:\n${this.output}`,
    });
  }

  /** As Ctrl-C does. */
  async stop(): Promise<number | null> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    const [code] = await ended;
    return code;
  }
}

/** Processes whose command line or environment names the folder. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(pid => {
      try {
        return `${readFileSync(`/proc/${pid}/cmdline`)}${readFileSync(`/proc/${pid}/environ`)}`.includes(folder);
      } catch {
        return false;
      }
    });
}

describeWhereKafkaCanBeHad('npm run mesh', () => {
  it('runs everything behind one address, leaves nothing behind, and goes on with its data', { timeout: TIMEOUT }, async () => {
    buildApp();
    const folder = temporaryFolder();
    const mesh = new Mesh(join(folder, 'data'), '--replicas', 'presence=2');
    const url = await mesh.url();
    expect(mesh.output).toMatch(/presence-2 +http/);
    const admin = await signUp(new Client(url));
    expect((await admin.client.get('/users/me')).status).toBe(200);
    expect((await fetch(`${url}/health/ready`)).status).toBe(404);
    const mails = () => readMails(join(folder, 'data', 'mesh'));
    await until(async () => (await mails()).length === 1, { timeout: 30_000, what: 'The welcome' });
    expect(await mesh.stop()).toBe(0);
    expect(processesOf(folder)).toEqual([]);

    const again = new Mesh(join(folder, 'data'));
    const client = new Client(await again.url());
    const login = await client.post('/auth/login', { email: admin.email, password: 'correct horse battery', device: 'test' });
    expect(login.status).toBe(200);
    expect(await mails()).toHaveLength(1);
    expect(await again.stop()).toBe(0);
    expect(processesOf(folder)).toEqual([]);
  });
});
