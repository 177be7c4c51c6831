import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKey, toPem } from '../mixins/auth/key-files';
import { DOMAINS, databaseVariable } from '../mixins/config';

const FILE = join(__dirname, '..', '.env');

const password = () => randomBytes(24).toString('base64url');
const sealKey = () => `k1:${randomBytes(32).toString('base64url')}`;

function signingKey(): string {
  return `"${toPem(generateKey()).trim().replaceAll('\n', '\\n')}"`;
}

/** Secrets of docker-compose.yml, by their names there. `HIVER_` keeps them from a process that reads the same file. */
function secrets(): Record<string, string> {
  const passwords = DOMAINS.map(domain => [
    databaseVariable(domain).replace('DATABASE_URL', 'HIVER_POSTGRES_PASSWORD'),
    password(),
  ]);
  return {
    HIVER_POSTGRES_PASSWORD: password(),
    ...Object.fromEntries(passwords),
    HIVER_JWT_PRIVATE_KEYS: signingKey(),
    HIVER_SEAL_KEYS: sealKey(),
    HIVER_TRANSPORT_KEY: sealKey(),
    HIVER_GRAFANA_PASSWORD: password(),
  };
}

/** Writes `.env` for Docker Compose; what is there already is somebody's, and stays. */
function main(): void {
  const lines = Object.entries(secrets()).map(([name, value]) => `${name}=${value}\n`);
  try {
    writeFileSync(FILE, `# Secrets of docker-compose.yml, made by \`npm run compose:env\`.\n${lines.join('')}`, {
      flag: 'wx',
      mode: 0o600,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    console.error('.env is there already and was left alone. Move it away, or add what docker-compose.yml misses.');
    process.exitCode = 1;
  }
}

main();
