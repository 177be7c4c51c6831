import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from './metrics';

/** Answers Prometheus, on a port of its own. */
export class MetricsServer {
  readonly #server: Server;

  constructor(
    metrics: Metrics,
    private readonly onError: (error: unknown) => void,
  ) {
    this.#server = createServer((req, res) => {
      const isAsked = req.method === 'GET' && req.url?.split('?')[0] === '/metrics';
      if (!isAsked) return void res.writeHead(404).end();
      metrics.render().then(
        text => res.writeHead(200, { 'Content-Type': metrics.contentType }).end(text),
        error => {
          this.onError(error);
          res.writeHead(500).end();
        },
      );
    });
  }

  /** @returns where it listens; another port than told where that was 0 */
  async listen(host: string, port: number): Promise<string> {
    this.#server.listen({ host, port });
    await once(this.#server, 'listening');
    const { address, port: taken } = this.#server.address() as AddressInfo;
    return `http://${address.includes(':') ? `[${address}]` : address}:${taken}/metrics`;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
