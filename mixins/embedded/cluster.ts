import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Binaries } from './binaries';
import { StartError } from './start-error';
import type { SystemUser } from './system-user';

export const SUPERUSER = 'hiver';

/** Of the settings there are, the one that sorts and folds abel, Abel, élan, Šimić and Zola as people expect. */
const LOCALE = ['--encoding=UTF8', '--locale-provider=icu', '--icu-locale=und', '--locale=C'];

export interface ClusterOptions {
  dataDir: string;
  clusterDir: string;
  binaries: Binaries;
  user: SystemUser;
  durable: boolean;
}

/**
 * Makes a PostgreSQL cluster where there is none, complete or not at all.
 * @returns the superuser's password: random, made with the cluster, kept beside it with mode 600
 * @throws {StartError} for a cluster of another major version, or one whose password is lost
 */
export async function prepareCluster(options: ClusterOptions): Promise<string> {
  const { dataDir, clusterDir, binaries } = options;
  const passwordFile = join(dataDir, 'postgres.password');
  if (!existsSync(join(clusterDir, 'PG_VERSION'))) await makeCluster(options, passwordFile);
  const found = readFileSync(join(clusterDir, 'PG_VERSION'), 'utf8').trim();
  if (found !== binaries.major) {
    throw new StartError(
      `The data in ${clusterDir} is of PostgreSQL ${found}, and this is PostgreSQL ${binaries.major}.\n` +
        `Export it with pg_dumpall of version ${found} and import it into a new DATA_DIR, or start anew by removing ${dataDir}.`,
    );
  }
  if (!existsSync(passwordFile)) {
    throw new StartError(
      `The password of the database is gone: ${passwordFile}.\nRestore that file, or start anew by removing ${dataDir}.`,
    );
  }
  return readFileSync(passwordFile, 'utf8').trim();
}

const UNFINISHED = 'postgres.unfinished.';

async function makeCluster(options: ClusterOptions, passwordFile: string): Promise<void> {
  const { dataDir, clusterDir, binaries, user, durable } = options;
  for (const name of readdirSync(dataDir).filter(name => name.startsWith(UNFINISHED))) {
    rmSync(join(dataDir, name), { recursive: true, force: true, maxRetries: 5 });
  }
  // A name of its own: the initdb of a process that was killed may still be at work.
  const unfinished = join(dataDir, `${UNFINISHED}${process.pid}`);
  mkdirSync(unfinished, { mode: 0o700 });
  writeFileSync(passwordFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
  // initdb reads the password as the user whom PostgreSQL will run as.
  for (const path of [unfinished, passwordFile]) {
    if (user.uid !== undefined && user.gid !== undefined) chownSync(path, user.uid, user.gid);
  }
  await run(
    binaries.initdb,
    [
      `--pgdata=${unfinished}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--no-instructions',
      ...LOCALE,
      ...(durable ? [] : ['--no-sync']),
    ],
    user,
  );
  renameSync(unfinished, clusterDir);
}

function run(command: string, args: string[], user: SystemUser): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn(command, args, {
    ...user,
    cwd: '/',
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', chunk => {
    complaints += chunk;
  });
  child.once('error', reject);
  child.once('close', code => (code === 0 ? resolve() : reject(new StartError(`initdb failed: ${complaints.trim()}`))));
  return promise;
}
