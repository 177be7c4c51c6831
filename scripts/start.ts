import { createServer } from 'node:net';
import { ServiceBroker } from 'moleculer';
import { type Config, parseConfig } from '../mixins/config';
import { type Embedded, embed } from '../mixins/embedded/embed';
import { explain, loadEnvFile, onStopSignal } from '../mixins/embedded/lifecycle';
import { startScreen } from '../mixins/embedded/screen';
import { brokerOptions } from '../moleculer.config';
import { servicesOf } from '../services';

const log = { info: () => undefined, warn: (message: string) => console.warn(message) };

/** Runs the services of the configuration, and in embedded mode PostgreSQL, in this process until it is told to stop. */
async function main(): Promise<void> {
  let stop = async (): Promise<void> => undefined;
  onStopSignal(() => stop());
  loadEnvFile();
  const config = parseConfig(process.env);
  await assertPortIsFree(config);
  const foundation: Embedded = config.mode === 'embedded' ? await embed(config, log) : { config, stop };
  // The broker stops what it stands on when all services have stopped.
  const broker = new ServiceBroker(brokerOptions(foundation.config, { stopped: foundation.stop }));
  stop = () => broker.stop();
  try {
    for (const schema of servicesOf(config.services)) broker.createService(schema);
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  if (process.env.NODE_ENV !== 'production') process.stdout.write(startScreen(broker, config));
}

/** Before anything is started: moleculer-web would end the process from wherever it is. */
async function assertPortIsFree({ services, host, port }: Config): Promise<void> {
  if (!services.includes('api')) return;
  const probe = createServer();
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen({ host, port }, resolve));
  await new Promise(resolve => probe.close(resolve));
}

main().catch(error => {
  console.error(`\n${explain(error)}\n`);
  process.exit(1);
});
