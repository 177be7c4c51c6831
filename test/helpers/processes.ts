import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { isAlive } from '../../mixins/embedded/processes';
import { until } from './until';

const started = new Set<ChildProcess>();
const folders: string[] = [];

afterEach(async () => {
  for (const child of started) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) {
    const pid = postgresOf(folder) ?? postgresOf(join(folder, 'data'));
    if (pid && isAlive(pid)) process.kill(pid, 'SIGQUIT');
    await until(() => !pid || !isAlive(pid));
    rmSync(folder, { recursive: true, force: true });
  }
});

/** A folder that goes with what runs in it at the test's end. */
export function temporaryFolder(mode = 0o755): string {
  const folder = mkdtempSync(join(tmpdir(), 'hiver-start-'));
  execFileSync('chmod', [mode.toString(8), folder]);
  folders.push(folder);
  return folder;
}

/** Builds what `npm start` runs. */
export function buildApp(): void {
  execFileSync(process.execPath, ['scripts/build.mjs']);
}

/** The application as a process of its own. */
export class Running {
  readonly #child: ChildProcess;
  output = '';

  /** @param how another user, other arguments of node or another folder than `npm start` has */
  constructor(environment: NodeJS.ProcessEnv, how: { uid?: number; gid?: number; args?: string[]; cwd?: string } = {}) {
    const { args = ['dist/start.js'], ...options } = how;
    const env = { PATH: process.env.PATH, PORT: '0', ...environment };
    this.#child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    started.add(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', text => {
        this.output += text;
      });
    }
    this.#child.once('close', () => started.delete(this.#child));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** URL of the API, once it says that it runs. */
  async url(): Promise<string> {
    return until(
      () => {
        if (this.#child.exitCode !== null) throw new Error(`It ended:\n${this.output}`);
        return /API\s+(http:\S+)/.exec(this.output)?.[1]?.replace('localhost', '127.0.0.1');
      },
      { timeout: 20_000, what: 'The start' },
    );
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits for its end; gives the exit code, or the signal that ended it. */
  async ended(timeout = 20_000): Promise<number | NodeJS.Signals> {
    return until(() => (started.has(this.#child) ? undefined : { end: this.#child.exitCode ?? this.#child.signalCode ?? 0 }), {
      timeout,
      what: `The end of:\n${this.output}\nThe process`,
    }).then(({ end }) => end);
  }
}

/** Process id of the PostgreSQL of a data folder, as its own file says. */
export function postgresOf(dataDir: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8'), 10);
  } catch {
    return undefined;
  }
}

/** Takes a port of 127.0.0.1 until `close`. */
export async function occupyPort(): Promise<{ port: number; close: () => void }> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return { port: typeof address === 'object' && address ? address.port : 0, close: () => server.close() };
}
