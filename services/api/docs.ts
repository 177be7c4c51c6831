import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { type Route, routeOf } from './routes';

interface StaticFile {
  path: string;
  summary: string;
  file: () => string;
  type: string;
}

/** Only our own origin, nothing inline. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HTML = 'text/html; charset=utf-8';
const SCRIPT = 'text/javascript; charset=utf-8';
const STYLE = 'text/css; charset=utf-8';

const FILES: readonly StaticFile[] = [
  {
    path: '/openapi.json',
    summary: 'This description of the API',
    file: () => inProject('openapi.json'),
    type: 'application/json',
  },
  { path: '/docs', summary: 'A page to read the API and to try it', file: () => ours('docs.html'), type: HTML },
  { path: '/docs/docs.js', summary: 'Script of the page', file: () => ours('docs.js'), type: SCRIPT },
  { path: '/docs/docs.css', summary: 'Style of the page', file: () => ours('docs.css'), type: STYLE },
  { path: '/docs/swagger-ui-bundle.js', summary: 'Swagger UI', file: () => viewer('swagger-ui-bundle.js'), type: SCRIPT },
  { path: '/docs/swagger-ui.css', summary: 'Style of Swagger UI', file: () => viewer('swagger-ui.css'), type: STYLE },
  { path: '/docs/favicon.png', summary: 'Icon of the page', file: () => viewer('favicon-32x32.png'), type: 'image/png' },
];

/** The API's description, and a page for people, which loads nothing from elsewhere. */
export function docsRoutes(): Route[] {
  return FILES.map(({ path, summary, file, type }) =>
    routeOf(`GET ${path}`, {
      auth: 'public',
      http: { summary },
      handler: (_req, res) => send(res, file, type),
    }),
  );
}

async function send(res: ServerResponse, file: () => string, type: string): Promise<void> {
  const content = await readFile(file());
  res.setHeader('Content-Type', type);
  res.setHeader('Cache-Control', 'no-cache');
  if (type === HTML) res.setHeader('Content-Security-Policy', PAGE_POLICY);
  res.setHeader('Content-Length', content.length);
  res.end(content);
}

/** A file of this project, from the sources or from a bundle in a folder of its own. */
function inProject(path: string): string {
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, path))) return join(folder, path);
  }
  throw new Error(`${path} is missing`);
}

function ours(name: string): string {
  return inProject(join('services', 'api', 'docs', name));
}

function viewer(name: string): string {
  return join(dirname(require.resolve('swagger-ui-dist/package.json')), name);
}
