import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A private key that signs tokens, and the instant (milliseconds) at which it was made. */
export interface KeyFile {
  path: string;
  createdAt: number;
  privateKey: KeyObject;
}

const FILE_NAME = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d\.\d{3}Z)\.pem$/;

/** Folder of an embedded installation's secrets. */
export function keyFolder(dataDir: string): string {
  return join(dataDir, 'keys');
}

/** Writes a secret that only its owner may read: whole or not at all, also for whoever looks meanwhile. */
function writeSecret(path: string, text: string): void {
  const unfinished = `${path}.${process.pid}.tmp`;
  rmSync(unfinished, { force: true });
  writeFileSync(unfinished, text, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(unfinished, path);
}

/** A new key for ES256 (RFC 7518, 3.4). */
export function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** The key as a PEM block, PKCS #8. */
export function toPem(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/**
 * Reads a private key for ES256.
 * @throws when the text is anything else
 */
export function parseKey(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('it is no private key on the curve P-256');
  }
  return key;
}

/**
 * Makes a key file. Its name says when, because that decides when the key signs: a file's own times do not survive a
 * copy of the folder.
 */
export function writeKeyFile(folder: string, now: number): KeyFile {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const privateKey = generateKey();
  const path = join(folder, `${new Date(now).toISOString().replaceAll(':', '-')}.pem`);
  writeSecret(path, toPem(privateKey));
  return { path, createdAt: now, privateKey };
}

/**
 * Reads every key file of the folder, oldest first; none where there is no folder.
 * @throws naming a file that holds no key for ES256
 */
export function readKeyFiles(folder: string): KeyFile[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map(name => FILE_NAME.exec(name))
    .filter(match => match !== null)
    .map(([name, hour, minute, second]) => readKeyFile(join(folder, name), Date.parse(`${hour}:${minute}:${second}`)))
    .sort((a, b) => a.createdAt - b.createdAt);
}

function readKeyFile(path: string, createdAt: number): KeyFile {
  try {
    return { path, createdAt, privateKey: parseKey(readFileSync(path, 'utf8')) };
  } catch (error) {
    throw new Error(`The key file ${path} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}
