/** `npx tsx test/kafka/run.ts [port]`: a Kafka to try things with, on port 9092 unless told, until Ctrl-C. */
import { startKafka } from './broker';

async function main(): Promise<void> {
  const kafka = await startKafka({ port: Number(process.argv[2] ?? 9092) });
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => void kafka.stop().then(() => process.exit(0)));
  }
  process.stdout.write(`Kafka listens on ${kafka.brokers}\n`);
  setInterval(() => undefined, 60_000);
}

void main();
