import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Whether there is a process of that id, whoever it belongs to, be it one that has ended and is not waited for. */
export function isKnown(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether a process of that id lives. */
export function isAlive(pid: number): boolean {
  return isKnown(pid) && !isZombie(pid);
}

function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    // proc(5): the state stands behind the command, which ends at ')'.
    return /\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/**
 * When a process started, as text that is only good for comparing: ids are given out again, the pair of id and start
 * is not. Undefined when there is no such process.
 */
export function startOf(pid: number): string | undefined {
  try {
    if (process.platform !== 'linux') return ps(pid, 'lstart');
    // proc(5): field 22 is the start in clock ticks since boot. The command in field 2 may contain anything but ends at ')'.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${ticks}`;
  } catch {
    return undefined;
  }
}

/** The command line of a process; empty when there is none to see. */
export function commandOf(pid: number): string {
  try {
    return process.platform === 'linux' ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') : ps(pid, 'command');
  } catch {
    return '';
  }
}

/** Working directory of a process; undefined where it cannot be seen, as on macOS. */
export function folderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

function ps(pid: number, column: string): string {
  return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  }).trim();
}

/** Sends a signal; says whether there was a process to get it. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Waits until a process is gone; false when it still lives after `timeout` milliseconds. */
export async function hasEnded(pid: number, timeout: number): Promise<boolean> {
  for (const deadline = Date.now() + timeout; isAlive(pid); ) {
    if (Date.now() > deadline) return false;
    await delay(20);
  }
  return true;
}
