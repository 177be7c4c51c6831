import { randomBytes } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Config, DOMAINS, type Domain } from '../config';
import { lockDataFolder } from './lock';
import { type PostgresOptions, type RunningPostgres, startPostgres } from './postgres';
import { StartError } from './start-error';

/** What embedded mode adds to a process, and takes back at the end. */
export interface Embedded {
  /** Complete: database URLs and the sealing key included. */
  config: Config;
  /** Ends PostgreSQL and gives the data folder back. Last of all: services still write while they stop. */
  stop(): Promise<void>;
}

/** Name of a domain's database. */
export function databaseName(domain: Domain): string {
  return `hiver_${domain.replaceAll('-', '_')}`;
}

/** URL of each domain's database on an embedded PostgreSQL that has them all. */
export function domainUrls<D extends Domain>({ urls }: Pick<RunningPostgres, 'urls'>, domains: readonly D[]): Record<D, string> {
  return Object.fromEntries(domains.map(domain => [domain, urls[databaseName(domain)]])) as Record<D, string>;
}

/**
 * Makes a whole configuration of one without databases and secrets: takes the data folder, starts PostgreSQL for the
 * domains that have no database URL, and keeps a sealing key beside the data.
 * @throws {StartError} saying what is in the way
 */
export async function embed(config: Config, log: PostgresOptions['log']): Promise<Embedded> {
  makeWritable(config.dataDir);
  const unlock = lockDataFolder(config.dataDir);
  process.once('exit', unlock);
  const release = () => {
    process.off('exit', unlock);
    unlock();
  };
  try {
    const sealKeys =
      config.sealKeys.length > 0 ? config.sealKeys : [{ id: 'local', key: keyFile(join(config.dataDir, 'seal.key')) }];
    const homeless = DOMAINS.filter(domain => config.services.includes(domain) && !config.databaseUrls[domain]);
    if (homeless.length === 0) return { config: { ...config, sealKeys }, stop: async () => release() };
    const postgres = await startPostgres({ dataDir: config.dataDir, databases: homeless.map(databaseName), log });
    const urls = domainUrls(postgres, homeless);
    const stop = async () => {
      await postgres.stop();
      release();
    };
    return { config: { ...config, sealKeys, databaseUrls: { ...config.databaseUrls, ...urls } }, stop };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Makes the data folder where it is missing.
 * @throws {StartError} when it cannot be written
 */
export function makeWritable(dataDir: string): void {
  // Started by root, PostgreSQL runs as somebody else, who has to walk through.
  const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
  try {
    makeFolder(dataDir, mode);
    accessSync(dataDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new StartError(
      `The data folder ${dataDir} cannot be written (${(error as NodeJS.ErrnoException).code}).\n` +
        'Make it writable for this user, or choose another one with DATA_DIR.',
      { cause: error },
    );
  }
}

/** Not `recursive`: where a folder exists and takes no folders, as below /proc, Node.js tries for ever. */
function makeFolder(folder: string, mode: number): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder), mode);
  mkdirSync(folder, { mode });
}

/** 32 random bytes, made at first use; complete on disk or not there. */
export function keyFile(path: string): Buffer {
  if (!existsSync(path)) {
    const unfinished = `${path}.unfinished`;
    writeFileSync(unfinished, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flush: true });
    renameSync(unfinished, path);
  }
  const key = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64url');
  if (key.length !== 32) throw new StartError(`The sealing key in ${path} is damaged.\nRestore that file from a backup.`);
  return key;
}
