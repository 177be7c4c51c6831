import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDataFolder } from '../../mixins/embedded/lock';
import { isAlive, startOf } from '../../mixins/embedded/processes';
import { until } from '../helpers/until';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hiver-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (content: unknown) => writeFileSync(join(folder, 'lock'), JSON.stringify(content));

/** The id of a process that is gone. */
async function deadPid(): Promise<number> {
  const child = spawn('true');
  const { pid = 0 } = child;
  await until(() => !isAlive(pid));
  return pid;
}

describe('lockDataFolder', () => {
  it('gives the folder to one process at a time', () => {
    const unlock = lockDataFolder(folder);
    expect(() => lockDataFolder(folder)).toThrow(`in use by another instance (process ${process.pid})`);
    unlock();
    lockDataFolder(folder)();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('takes over from a process that is gone', async () => {
    write({ pid: await deadPid(), startedAt: 'whenever' });
    lockDataFolder(folder)();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('takes over where another process has the id by now', () => {
    write({ pid: process.pid, startedAt: 'before the last reboot' });
    lockDataFolder(folder)();
  });

  it('respects a process that lives and is the same', () => {
    write({ pid: process.ppid, startedAt: startOf(process.ppid) });
    expect(() => lockDataFolder(folder)).toThrow(`process ${process.ppid}`);
  });

  it.each(['', '{"pid":', 'null', '{}'])('takes over a lock that reads %j', content => {
    writeFileSync(join(folder, 'lock'), content);
    lockDataFolder(folder)();
  });

  it('leaves a lock alone that belongs to somebody else by the time it unlocks', () => {
    const unlock = lockDataFolder(folder);
    write({ pid: 1, startedAt: 'x' });
    unlock();
    expect(readFileSync(join(folder, 'lock'), 'utf8')).toContain('"pid":1');
  });
});
