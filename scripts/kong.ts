import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { type KongConfig, readKong } from './kong/config';
import { toGateway, withJwt, withOrigins } from './kong/gateway';

const USAGE = `Usage:
  npm run kong                     writes kong.gateway.yml from kong.yml
  npm run kong:check               says whether it is up to date
  npm run -s kong -- --print [--gateway] [--origins https://a.example,https://b.example] [--jwt jwks.json]
                                   prints a configuration: of gateway mode, with other CORS origins, with tokens verified
                                   at the gateway by the keys of a JWKS file`;

const root = join(__dirname, '..');
const GATEWAY = join(root, 'kong.gateway.yml');
const HEADER = '# Gateway mode. Made from kong.yml by `npm run kong`; change that one.\n';

function main(): void {
  const { values } = parseArgs({
    options: {
      check: { type: 'boolean' },
      print: { type: 'boolean' },
      gateway: { type: 'boolean' },
      origins: { type: 'string' },
      jwt: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const write = (text: string) => void process.stdout.write(text);
  if (values.help) {
    write(`${USAGE}\n`);
    return;
  }
  const config = readKong(join(root, 'kong.yml'));
  if (values.print) {
    write(yaml(printed(config, values)));
    return;
  }
  if (values.gateway || values.origins || values.jwt) throw new Error(USAGE);
  const text = HEADER + yaml(toGateway(config));
  if (!values.check) writeFileSync(GATEWAY, text);
  else if (readFileSync(GATEWAY, 'utf8') !== text) {
    throw new Error('kong.gateway.yml does not say what kong.yml says: run `npm run kong` and commit it.');
  }
}

/** Without anchors, which not every reader of YAML knows. */
const yaml = (config: KongConfig) => stringify(config, { aliasDuplicateObjects: false, lineWidth: 0 });

function printed(config: KongConfig, options: { gateway?: boolean; origins?: string; jwt?: string }): KongConfig {
  let result = options.gateway ? toGateway(config) : config;
  if (options.origins)
    result = withOrigins(
      result,
      options.origins.split(',').map(origin => new URL(origin).origin),
    );
  if (!options.jwt) return result;
  const overlay = parse(readFileSync(join(root, 'kong.jwt.yml'), 'utf8')) as Pick<KongConfig, 'plugins'>;
  return withJwt(result, overlay, JSON.parse(readFileSync(options.jwt, 'utf8')));
}

try {
  main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
