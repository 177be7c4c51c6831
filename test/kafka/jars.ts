import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const HERE = resolve('test/kafka');
const CACHE = resolve('node_modules/.cache/hiver-kafka');
const OLDEST_JAVA = 17;

/** What keeps Kafka from running here; `undefined` when it can be had. */
export function obstacleToKafka(): string | undefined {
  // `openjdk version "17.0.15"`, on the error stream.
  const { stderr } = spawnSync('java', ['-version'], { encoding: 'utf8' });
  const major = Number(/version "(\d+)/.exec(stderr ?? '')?.[1] ?? 0);
  if (major < OLDEST_JAVA) return `Java ${OLDEST_JAVA} or newer is not on the PATH`;
  if (existsSync(folderOfJars())) return undefined;
  return spawnSync('mvn', ['-version']).status === 0 ? undefined : 'Maven is not on the PATH';
}

/**
 * Brings Kafka's jars from Maven Central, once for each version of the pom.
 * @returns folder that holds `libs` and whatever else may be kept for this version
 */
export async function fetchJars(): Promise<string> {
  const folder = folderOfJars();
  if (existsSync(folder)) return folder;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = mkdtempSync(join(CACHE, 'unfinished-'));
  await run('mvn', [
    '-B',
    '-q',
    '-f',
    join(HERE, 'pom.xml'),
    'dependency:copy-dependencies',
    `-DoutputDirectory=${unfinished}/libs`,
  ]);
  try {
    renameSync(unfinished, folder);
  } catch (error) {
    // Somebody else was faster.
    rmSync(unfinished, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

function folderOfJars(): string {
  const pom = readFileSync(join(HERE, 'pom.xml'));
  return join(CACHE, createHash('sha256').update(pom).digest('hex').slice(0, 16));
}
