/**
 * An operator's node as a process of its own, as `scripts/repl.ts` makes it, on a transporter that needs no Kafka.
 *
 *     repl-child.ts prompt|session '<transporter as JSON>' [command]
 */
import { ServiceBroker } from 'moleculer';
import { parseConfig } from '../../mixins/config';
import { brokerOptions } from '../../moleculer.config';
import { runSession } from '../../services/repl/session';

async function main([how, transporter = '', exec]: string[]): Promise<void> {
  const config = { ...parseConfig({ NODE_ID: 'repl-test', LOG_LEVEL: 'error' }), services: [] };
  const options = brokerOptions(config, { log: { to: process.stderr } });
  const broker = new ServiceBroker({ ...options, transporter: JSON.parse(transporter) });
  // The prompt reads from a terminal, and from whatever is taken for one.
  if (how === 'prompt') process.stdin.isTTY = true;
  const isWell = await runSession(broker, { exec });
  if (isWell === undefined) return;
  await broker.stop();
  process.stdout.write('', () => process.exit(isWell ? 0 : 1));
}

void main(process.argv.slice(2));
