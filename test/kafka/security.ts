import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Security } from './properties';

const run = promisify(execFile);

/** Makes the broker a key and a certificate that nobody else has signed. */
export async function makeSecurity(folder: string): Promise<Security & { ca: string }> {
  const keystore = join(folder, 'keystore.p12');
  const keystorePassword = randomBytes(12).toString('hex');
  const store = ['-keystore', keystore, '-storetype', 'PKCS12', '-storepass', keystorePassword, '-alias', 'broker'];
  const key = ['-keyalg', 'EC', '-groupname', 'secp256r1', '-validity', '2', '-dname', 'CN=broker', '-ext', 'san=ip:127.0.0.1'];
  await run('keytool', ['-genkeypair', ...store, ...key]);
  const { stdout: ca } = await run('keytool', ['-exportcert', '-rfc', ...store]);
  return { keystore, keystorePassword, ca, username: 'hiver', password: randomBytes(12).toString('hex') };
}
