import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type KafkaProcess, startKafka } from './broker';

/**
 * Offers one Kafka for the whole run, to processes that do not know of each other: started when the first of them asks.
 * What answers is its brokers, or an error in words with status 500.
 */
export async function offerKafka(): Promise<{ url: string; close(): Promise<void> }> {
  let started: Promise<KafkaProcess> | undefined;
  const server = createServer((_, response) => {
    started ??= startKafka();
    started.then(
      ({ brokers }) => response.end(brokers),
      error => response.writeHead(500).end((error as Error).message),
    );
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
      await started?.then(kafka => kafka.stop()).catch(() => undefined);
    },
  };
}
