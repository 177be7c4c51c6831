import { ServiceBroker } from 'moleculer';
import { parseConfig } from '../mixins/config';
import { type Embedded, embed } from '../mixins/embedded/embed';
import { assertPortIsFree } from '../mixins/embedded/free-port';
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
  // Before anything is started: moleculer-web would end the process from wherever it is.
  if (config.services.includes('api')) await assertPortIsFree(config.port, config.host);
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

main().catch(error => {
  console.error(`\n${explain(error)}\n`);
  process.exit(1);
});
