import { existsSync, type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Middleware, Service, ServiceBroker, Validators } from 'moleculer';
import { configOf } from './config';

type LoadedService = Service & { __filename?: string };

const NAME = 'HotReload';
const FOLDERS = ['services', 'mixins'];
const CONFIG = resolve('moleculer.config.ts');
/** Editors write a file in several steps, and several files at once. */
const SETTLE = 80;

/**
 * Makes services follow their files while developing. Moleculer's own does so half a second later, takes a service down
 * before it knows whether the new one loads, and restarts everything, with a second REPL, when a file is touched that
 * `moleculer.config.ts` uses too: most mixins are.
 *
 * Here a change is loaded first; when all that depends on it is found good, its services are replaced, and with them the
 * middlewares and the validator.
 */
export function hotReload(): Middleware {
  const changed = new Set<string>();
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let work = Promise.resolve();

  return {
    name: NAME,
    async started(broker) {
      const settled = () => {
        // One after the other: a save during a reload is the next reload.
        work = work.then(() => reload(broker, changed)).catch(error => broker.logger.error('Reload failed:', error));
      };
      const onSave = (path: string) => {
        if (isFolder(path)) follow(path);
        if (!path.endsWith('.ts')) return;
        changed.add(path);
        clearTimeout(timer);
        timer = setTimeout(settled, SETTLE);
      };
      const follow = (folder: string) => {
        for (const each of foldersIn(folder)) {
          if (!watchers.has(each))
            watchers.set(
              each,
              watch(each, (_, name) => name && onSave(resolve(each, name))),
            );
        }
      };
      for (const folder of FOLDERS) follow(resolve(folder));
    },
    async stopped() {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

/** The folder and all below it. On Linux a recursive watcher loses a file whose editor saves it by renaming another. */
function foldersIn(folder: string): string[] {
  const below = readdirSync(folder, { withFileTypes: true, recursive: true }).filter(entry => entry.isDirectory());
  return [folder, ...below.map(entry => join(entry.parentPath, entry.name))];
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Replaces the services that depend on changed files; when one does not load, all stays as it is until the next save. */
async function reload(broker: ServiceBroker, changed: Set<string>): Promise<void> {
  const started = performance.now();
  const stale = dependentsOf(changed);
  const files = servicesToReload(stale, changed);
  const old = [...stale].map(path => [path, require.cache[path]] as const);
  for (const path of stale) delete require.cache[path];
  try {
    for (const file of files) if (existsSync(file)) require(file);
    if (stale.has(CONFIG)) refresh(broker);
  } catch (error) {
    for (const [path, module] of old) require.cache[path] = module;
    broker.logger.error('Not reloaded, the services run on as they were:', error);
    return;
  }
  changed.clear();
  if (files.length === 0) return;
  const names = await replace(broker, files);
  broker.logger.warn(`Reloaded ${names.join(', ')} in ${Math.round(performance.now() - started)} ms`);
}

/** Loaded modules that a changed file is part of, up to services and the broker's configuration. */
function dependentsOf(changed: ReadonlySet<string>): Set<string> {
  const parents = new Map<string, string[]>();
  for (const module of Object.values(require.cache)) {
    for (const { filename } of module?.children ?? [])
      parents.set(filename, [...(parents.get(filename) ?? []), module?.filename ?? '']);
  }
  const stale = new Set<string>();
  const visit = (path: string) => {
    if (stale.has(path) || !require.cache[path] || path.includes('/node_modules/')) return;
    stale.add(path);
    if (!isServiceFile(path) && path !== CONFIG) for (const parent of parents.get(path) ?? []) visit(parent);
  };
  for (const path of changed) visit(path);
  return stale;
}

/**
 * Files of services that are stale, new, or share a domain's folder with one of those: they share its database, whose
 * connections know the old text of a prepared statement.
 */
function servicesToReload(stale: ReadonlySet<string>, changed: ReadonlySet<string>): string[] {
  const loaded = Object.keys(require.cache).filter(isServiceFile);
  if (stale.has(CONFIG)) return loaded;
  const affected = [...stale, ...changed].filter(isServiceFile);
  const domains = new Set(affected.map(path => dirname(path)));
  return [...new Set([...affected, ...loaded.filter(path => domains.has(dirname(path)))])];
}

function isServiceFile(path: string): boolean {
  return path.endsWith('.service.ts');
}

/** Gives the broker the middlewares and the validator of a changed configuration: services that are made next meet them. */
function refresh(broker: ServiceBroker): void {
  const { brokerOptions } = require(CONFIG) as typeof import('../moleculer.config');
  const { middlewares = [], validator } = brokerOptions(configOf(broker), { log: false });
  const own = broker.middlewares.list.find(({ name }) => name === NAME);
  broker.validator = validator as Validators.Base;
  broker.validator.init(broker);
  Object.assign(broker.middlewares, { list: [], registeredHooks: {} });
  for (const middleware of own ? [...middlewares, own] : middlewares) broker.middlewares.add(middleware);
}

/** All go before the first comes back: services of a domain share its database, which may have a new schema. */
async function replace(broker: ServiceBroker, files: readonly string[]): Promise<string[]> {
  const old = broker.services.filter(service => files.includes((service as LoadedService).__filename ?? ''));
  await Promise.all(old.map(service => broker.destroyService(service)));
  const names = files
    .filter(file => existsSync(file))
    .flatMap(file => {
      try {
        return [broker.loadService(file).fullName];
      } catch {
        return []; // the broker has said what is wrong; the other services come back all the same
      }
    });
  await broker.waitForServices(names, 10_000, 20, { ...broker.logger, info: () => undefined });
  return names;
}
