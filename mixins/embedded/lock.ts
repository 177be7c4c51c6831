import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, startOf } from './processes';
import { StartError } from './start-error';

interface Owner {
  pid: number;
  startedAt: string | undefined;
}

/**
 * Takes a data folder for this process; returns what gives it back. The lock of a process that is gone, killed or
 * before a reboot, is taken over.
 * @throws {StartError} while another process has it
 */
export function lockDataFolder(dataDir: string): () => void {
  const lock = join(dataDir, 'lock');
  const mine = join(dataDir, `lock.${process.pid}`);
  const content = JSON.stringify({ pid: process.pid, startedAt: startOf(process.pid) } satisfies Owner);
  writeFileSync(mine, content, { mode: 0o600 });
  try {
    // A link is made at once and complete, or not at all: nobody reads half a lock.
    while (!link(mine, lock)) takeAway(lock, dataDir);
  } finally {
    rmSync(mine, { force: true });
  }
  return () => {
    if (read(lock) === content) rmSync(lock, { force: true });
  };
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Removes the lock of a process that is gone. */
function takeAway(lock: string, dataDir: string): void {
  const found = read(lock);
  if (found === undefined) return;
  assertGone(found, dataDir);
  const aside = `${lock}.stale.${process.pid}`;
  try {
    renameSync(lock, aside);
  } catch {
    return; // somebody else was faster
  }
  // Two may find the same stale lock; the slower one holds the faster one's new lock in its hands, and puts it back.
  const taken = read(aside);
  if (taken !== found) link(aside, lock);
  rmSync(aside, { force: true });
}

function assertGone(content: string, dataDir: string): void {
  const owner = parse(content);
  if (owner && isAlive(owner.pid) && startOf(owner.pid) === owner.startedAt) {
    throw new StartError(
      `The data folder ${dataDir} is in use by another instance (process ${owner.pid}).\n` +
        'Stop that one first, or start this one with another DATA_DIR.',
    );
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** A lock that cannot be read was cut off by a power failure: nobody holds it. */
function parse(content: string): Owner | undefined {
  try {
    const owner = JSON.parse(content) as Owner | null;
    return typeof owner?.pid === 'number' ? owner : undefined;
  } catch {
    return undefined;
  }
}
