import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DOMAINS } from '../mixins/config';
import { servicesOf } from '../services';
import { openApiDocument } from '../services/api/openapi';

/** Writes openapi.json from the contracts; with --check says whether the committed one is still true. */
async function main(): Promise<void> {
  const root = join(__dirname, '..');
  const file = join(root, 'openapi.json');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const services = await servicesOf([...DOMAINS, 'api']);
  const text = `${JSON.stringify(openApiDocument(services, version), null, 2)}\n`;
  if (!process.argv.includes('--check')) {
    writeFileSync(file, text);
    return;
  }
  if (readFileSync(file, 'utf8') === text) return;
  console.error('openapi.json does not say what the contracts say: run `npm run openapi` and commit it.');
  process.exitCode = 1;
}

main();
