import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../mixins/embedded/free-port';
import { temporaryFolder } from './broker';
import { fetchJars } from './jars';
import { Java } from './java';
import { memberProperties } from './properties';

/** Several Kafka servers that are one cluster, on 127.0.0.1. */
export interface KafkaCluster {
  brokers: readonly string[];
  /** Ends one of them as a power cut does. */
  kill(nth: number): Promise<void>;
  /** Starts one of them again, with what it kept. */
  restart(nth: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts three servers, each of them broker and controller; resolves when they can be used. */
export async function startKafkaCluster(): Promise<KafkaCluster> {
  const jars = await fetchJars();
  const ports = await Promise.all(
    Array.from({ length: 3 }, async () => ({ broker: await freePort(), controller: await freePort() })),
  );
  const folders: string[] = [];
  for (const _ of ports) folders.push(await temporaryFolder());
  const servers = folders.map(folder => new Java(jars, folder));
  for (const [nth, folder] of folders.entries()) {
    writeFileSync(join(folder, 'server.properties'), memberProperties(ports, nth, join(folder, 'data')));
    await servers[nth]?.format({ isAlone: false });
  }
  await Promise.all(servers.map(server => server.start()));
  return {
    brokers: ports.map(({ broker }) => `127.0.0.1:${broker}`),
    async kill(nth) {
      await servers[nth]?.end('SIGKILL');
    },
    async restart(nth) {
      await servers[nth]?.start();
    },
    async stop() {
      // In no order: two that are left wait for a third one when they end politely.
      await Promise.all(servers.map(server => server.end('SIGKILL')));
      for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    },
  };
}
