import { existsSync, rmSync } from 'node:fs';
import { generateKey, keyFolder, readKeyFiles, toPem, writeKeyFile } from '../mixins/auth/key-files';
import { keysOfFolder, PUBLISHED_BEFORE_SIGNING_MS, publishedAt, toSigningKey } from '../mixins/auth/keys';
import { parseConfig } from '../mixins/config';

/**
 * Makes a new key for access tokens. It is published at once and signs in an hour; the one before stays published until
 * its last token has expired. Nobody is logged out. A running server sees the file by itself.
 */
function rotate(folder: string): void {
  if (!existsSync(folder)) {
    console.error(`There are no keys in ${folder} yet. Start the server once, or set DATA_DIR to its data.`);
    process.exitCode = 1;
    return;
  }
  const now = Date.now();
  const { privateKey } = writeKeyFile(folder, now);
  const removed = removeOld(folder, now);
  const signsFrom = new Date(now + PUBLISHED_BEFORE_SIGNING_MS);
  console.log(`Key ${toSigningKey(privateKey, 0).kid} is published now and signs from ${signsFrom.toISOString()} on.`);
  if (removed > 0) console.log(`${removed} key(s) whose tokens have all expired were removed.`);
}

/** Removes the keys that are published no more; returns how many. */
function removeOld(folder: string, now: number): number {
  const published = new Set(publishedAt(keysOfFolder(folder), now).map(({ kid }) => kid));
  const old = readKeyFiles(folder).filter(({ privateKey }) => !published.has(toSigningKey(privateKey, 0).kid));
  for (const { path } of old) rmSync(path);
  return old.length;
}

/** Where the keys are variables only an operator can change them: here is a new one, and how to go on. */
function explainRotation(): void {
  console.log(toPem(generateKey()));
  console.log(
    [
      '1. Add this block at the end of JWT_PRIVATE_KEYS of every users node and restart them: it is published.',
      '2. An hour later, move it to the front and restart: it signs.',
      '3. 20 minutes later, remove the old block and restart.',
    ].join('\n'),
  );
}

const { dataDir, jwt, mode } = parseConfig(process.env);
if (mode === 'mesh' || jwt.privateKeys) explainRotation();
else rotate(keyFolder(dataDir));
