import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

// Only our own code is bundled. With its packages inside it starts no faster, takes ten times as long to build, and
// native addons, drivers that are looked up by name and files that packages bring along need exceptions.
await build({
  absWorkingDir: root,
  entryPoints: ['scripts/start.ts', 'scripts/repl.ts'],
  outdir: 'dist',
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node24',
  format: 'cjs',
  sourcemap: true,
  keepNames: true,
  logLevel: 'warning',
});
