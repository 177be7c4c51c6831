import { afterAll } from 'vitest';
import { readKong } from '../../scripts/kong/config';
import { type RunningProxy, startProxy } from '../../scripts/proxy';

/** The Kong that end-to-end tests are to go through, where there is one. */
export const KONG_URL = process.env.KONG_URL?.replace(/\/$/, '');

/** Where end-to-end tests call the system: that Kong, which stands before a system of its own, or what `start` brings up. */
export async function entryUrl(start: () => Promise<string>): Promise<string> {
  return KONG_URL ?? start();
}

const running = new Set<RunningProxy>();

afterAll(() => Promise.all([...running].map(proxy => proxy.close())).then(() => undefined));

/** Starts the development proxy as `kong.yml` says, on a free port and before one node that runs every domain. */
export async function startFrontDoor(nodeUrl: string): Promise<RunningProxy> {
  const config = readKong('kong.yml');
  const targets = Object.fromEntries(config.upstreams.map(({ name }) => [name, [nodeUrl]]));
  const proxy = await startProxy({ config, targets, port: 0 });
  running.add(proxy);
  return proxy;
}
