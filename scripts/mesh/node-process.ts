import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { PROGRAM } from '../program';

const STOP_TIMEOUT = 10_000;
const ROOT = join(__dirname, '..', '..');

export interface NodeOptions {
  /** `presence-2`; also its NODE_ID. */
  name: string;
  /** Port of its API. */
  port: number;
  environment: Record<string, string>;
  /** Takes what it writes, line by line. */
  onLine(line: string): void;
}

/** One node of the mesh, as a process of its own that can be killed and started again. */
export class NodeProcess {
  readonly url: string;
  #child: ChildProcess | undefined;
  #isStopping = false;

  /** Called when it ends without having been told to. */
  onCrash: (how: string) => void = () => undefined;

  constructor(private readonly options: NodeOptions) {
    this.url = `http://127.0.0.1:${options.port}`;
  }

  get name(): string {
    return this.options.name;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  start(): void {
    const { name, port, environment, onLine } = this.options;
    this.#isStopping = false;
    const child = spawn(process.execPath, PROGRAM, {
      cwd: ROOT,
      // Not in the group that a terminal's Ctrl-C goes to: what it stands on has to outlive it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, NODE_ENV: 'production', NODE_ID: name, PORT: String(port), ...environment },
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine);
    const killAtExit = () => child.kill('SIGKILL');
    process.once('exit', killAtExit);
    child.once('exit', (code, signal) => {
      process.off('exit', killAtExit);
      if (!this.#isStopping && this.#child === child) this.onCrash(signal ?? `exit code ${code}`);
    });
  }

  /** Resolves when it serves requests. */
  async ready(timeout = 60_000): Promise<void> {
    for (const deadline = Date.now() + timeout; ; await delay(50)) {
      const response = await fetch(`${this.url}/health/ready`).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.ok) return;
      if (Date.now() > deadline)
        throw new Error(`${this.name} is not ready after ${timeout} ms: ${response?.status ?? 'no answer'}`);
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Ends it as a power cut does. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#isStopping = true;
    if (!child || !this.isRunning) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
    await ended;
    clearTimeout(timer);
  }
}
