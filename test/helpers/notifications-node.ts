/**
 * A node of the notifications domain in a process of its own, for tests that kill it: takes its configuration from
 * standard input and writes `ready` when it has started.
 */
import { readFileSync } from 'node:fs';
import { ServiceBroker, type ServiceSchema } from 'moleculer';
import type { Config } from '../../mixins/config';
import { brokerOptions } from '../../moleculer.config';
import notifications from '../../services/notifications/notifications.service';

/** What it reads from standard input, as JSON. */
export interface NodeInput {
  config: Config;
}

const revive = (_: string, value: unknown) =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' ? Buffer.from(value as never) : value;

async function main(): Promise<void> {
  const { config } = JSON.parse(readFileSync(0, 'utf8'), revive) as NodeInput;
  const broker = new ServiceBroker(brokerOptions(config, { log: false }));
  broker.createService(notifications as unknown as ServiceSchema);
  await broker.start();
  process.stdout.write('ready\n');
}

void main();
