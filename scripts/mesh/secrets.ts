import { join } from 'node:path';
import { keyFolder, readKeyFiles, toPem, writeKeyFile } from '../../mixins/auth/key-files';
import { keyFile } from '../../mixins/embedded/embed';

/** What nodes of one mesh share, in the form of their variables. */
export interface Secrets {
  privateKeys: string;
  sealKey: string;
  transportKey: string;
}

/** The secrets of a development mesh, made at first use and kept in its data folder. */
export function secretsOf(dataDir: string): Secrets {
  const folder = keyFolder(dataDir);
  const keys = readKeyFiles(folder);
  const newest = keys.at(-1) ?? writeKeyFile(folder, Date.now());
  const others = keys.slice(0, -1);
  const listed = (name: string) => `local:${keyFile(join(dataDir, name)).toString('base64url')}`;
  return {
    privateKeys: [newest, ...others].map(({ privateKey }) => toPem(privateKey)).join(''),
    sealKey: listed('seal.key'),
    transportKey: listed('transport.key'),
  };
}
