/**
 * A mesh node with the echo service in a process of its own, for tests that kill it: takes its configuration from
 * standard input, writes `connected` when others can call it, and stops as the application does.
 */
import { readFileSync } from 'node:fs';
import { ServiceBroker } from 'moleculer';
import type { Config } from '../../mixins/config';
import { onStopSignal } from '../../mixins/embedded/lifecycle';
import { brokerOptions } from '../../moleculer.config';
import { echo } from './echo.service';

const revive = (_: string, value: unknown) =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' ? Buffer.from(value as never) : value;

async function main(): Promise<void> {
  const config = JSON.parse(readFileSync(0, 'utf8'), revive) as Config;
  const broker = new ServiceBroker(brokerOptions(config));
  onStopSignal(() => broker.stop());
  broker.createService(echo());
  broker.localBus.on('$transporter.connected', () => process.stdout.write('connected\n'));
  await broker.start();
}

void main();
