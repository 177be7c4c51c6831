import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import * as z from 'zod';

const Plugin = z.looseObject({ name: z.string(), service: z.string().optional(), config: z.looseObject({}).default({}) });

/**
 * Strict where a part that is not modelled here would change where a request goes: Kong prefers routes that also name
 * methods, hosts or headers to all others, whatever their priority.
 */
const Route = z.strictObject({
  name: z.string(),
  paths: z.array(z.string().startsWith('~/', 'must be a regular expression, ~/…')).min(1),
  regex_priority: z.int().default(0),
  strip_path: z.literal(false),
  preserve_host: z.literal(false),
  request_buffering: z.boolean().default(true),
  response_buffering: z.boolean().default(true),
  plugins: z.array(Plugin).default([]),
});

const Service = z.strictObject({
  name: z.string(),
  /** Name of an upstream. */
  host: z.string(),
  protocol: z.literal('http'),
  port: z.literal(80),
  retries: z.int(),
  connect_timeout: z.int(),
  write_timeout: z.int(),
  read_timeout: z.int(),
  routes: z.array(Route),
});

const Upstream = z.strictObject({
  name: z.string(),
  healthchecks: z.looseObject({}),
  targets: z.array(z.strictObject({ target: z.string().regex(/^[\w.-]+:\d+$/, 'must be host:port') })).min(1),
});

/** What we use of Kong's declarative format 3.0. Time-outs are milliseconds. */
const KongConfig = z.strictObject({
  _format_version: z.literal('3.0'),
  upstreams: z.array(Upstream),
  services: z.array(Service),
  consumers: z.array(z.looseObject({ username: z.string() })).optional(),
  plugins: z.array(Plugin),
});

export type KongConfig = z.infer<typeof KongConfig>;
export type KongService = z.infer<typeof Service>;
export type KongRoute = z.infer<typeof Route>;

/**
 * Reads a declarative configuration of Kong.
 * @throws naming each part that is wrong or not modelled
 */
export function readKong(file: string): KongConfig {
  return parseKong(readFileSync(file, 'utf8'), file);
}

export function parseKong(text: string, file = 'kong.yml'): KongConfig {
  const result = KongConfig.safeParse(parse(text));
  if (!result.success) throw new Error(`${file}:\n${z.prettifyError(result.error)}`);
  const upstreams = new Set(result.data.upstreams.map(({ name }) => name));
  const lost = result.data.services.find(({ host }) => !upstreams.has(host));
  if (lost) throw new Error(`${file}: service ${lost.name} names an upstream that is not there: ${lost.host}`);
  return result.data;
}

/** The settings of a plugin on a route: its own instance wins over the service's, and that over the global one. */
export function pluginConfig(config: KongConfig, name: string, service?: KongService, route?: KongRoute) {
  const own = route?.plugins.find(plugin => plugin.name === name);
  const ofService = config.plugins.find(plugin => plugin.name === name && plugin.service && plugin.service === service?.name);
  const global = config.plugins.find(plugin => plugin.name === name && !plugin.service);
  return (own ?? ofService ?? global)?.config;
}
