import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../mixins/embedded/free-port';

const START_TIMEOUT = 60_000;
const STOP_TIMEOUT = 10_000;
const TICKS_PER_SECOND = 100; // USER_HZ, which Linux shows to every program whatever its own clock is

/** A process under test. */
export interface Server {
  name: string;
  url: string;
  pid: number;
  /** Milliseconds from its start to its first answer. */
  startTime: number;
  stop(): Promise<void>;
}

export interface ServerOptions {
  name: string;
  args: readonly string[];
  environment: Record<string, string>;
  /** Path that answers 200 as soon as the server works. */
  readyPath: string;
  logFile: string;
}

/** Whether servers and load can be kept apart: two cores, and `taskset` to say who gets which. */
export const canPin =
  process.platform === 'linux' && availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;

/** Servers run on the first core; the load and PostgreSQL on the others. */
const SERVER_CORES = '0';
const OTHER_CORES = `1-${availableParallelism() - 1}`;
const ALL_CORES = `0-${availableParallelism() - 1}`;

/** Moves this process, and what it starts from now on, off the servers' core. */
export function leaveServerCore(): void {
  if (canPin) pin(process.pid, OTHER_CORES);
}

/** Lets a server run on its own core only, or on all of them. */
export function confine(server: Server, isConfined: boolean): void {
  if (canPin) pin(server.pid, isConfined ? SERVER_CORES : ALL_CORES);
}

function pin(pid: number, cores: string): void {
  execFileSync('taskset', ['-acp', cores, String(pid)], { stdio: 'ignore' });
}

/** Starts a Node.js program on a free port (`PORT`) and waits for its first answer. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const port = await freePort();
  const log = openSync(options.logFile, 'a');
  const command = [...(canPin ? ['taskset', '-c', SERVER_CORES] : []), process.execPath, ...options.args];
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: join(__dirname, '..'),
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH, NODE_ENV: 'production', HOST: '127.0.0.1', PORT: String(port), ...options.environment },
  });
  closeSync(log);
  // Whatever ends this process: nothing is left running.
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  child.once('exit', () => process.off('exit', killAtExit));
  const startedAt = performance.now();
  const url = `http://127.0.0.1:${port}`;
  const stop = () => stopChild(child);
  try {
    await answers(child, options, `${url}${options.readyPath}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: options.name, url, pid: child.pid as number, startTime: performance.now() - startedAt, stop };
}

async function answers(child: ChildProcess, { name, logFile }: ServerOptions, url: string): Promise<void> {
  let failure: Error | undefined;
  child.once('error', error => {
    failure = error;
  });
  for (const deadline = performance.now() + START_TIMEOUT; performance.now() < deadline; await delay(10)) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    if (failure || hasEnded) throw new Error(`${name} does not start:\n${tail(logFile)}`, { cause: failure });
    const response = await fetch(url).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return;
  }
  throw new Error(`${name} does not answer at ${url}:\n${tail(logFile)}`);
}

function tail(file: string): string {
  return readFileSync(file, 'utf8').split('\n').slice(-30).join('\n');
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
  await ended;
  clearTimeout(timer);
}

/** CPU time that a process has used so far, user and system, in microseconds. */
export function cpuTime(pid: number): number {
  if (process.platform !== 'linux') return parsePsTime(ps(pid, 'time'));
  // proc(5): utime and stime are fields 14 and 15; the command in field 2 may contain anything but ends at ')'.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND;
}

/** Resident memory of a process now, in MB (10^6 bytes). */
export function memory(pid: number): number {
  const kib =
    process.platform === 'linux' ? /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] : ps(pid, 'rss');
  return (Number(kib) * 1_024) / 1_000_000;
}

/** Waits until the processes rest: what they had put off for later is done. Gives up after a minute. */
export async function settle(servers: readonly Server[]): Promise<void> {
  const used = () => servers.reduce((sum, { pid }) => sum + cpuTime(pid), 0);
  for (let round = 0, before = used(); round < 120; round++) {
    await delay(500);
    const now = used();
    if (now - before <= 40_000) return;
    before = now;
  }
}

function ps(pid: number, column: string): string {
  return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' }).trim();
}

/** `[[dd-]hh:]mm:ss.cc` to microseconds. */
function parsePsTime(text: string): number {
  const [time = '', days = '0'] = text.split('-').reverse();
  const seconds = time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  return (Number(days) * 86_400 + seconds) * 1_000_000;
}
