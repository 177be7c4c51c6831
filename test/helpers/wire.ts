import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export interface Wire {
  /** The given URL, through the wire. */
  url: string;
  /** Breaks every connection, and refuses new ones. */
  cut(): Promise<void>;
  /** Lets new connections through again. */
  mend(): Promise<void>;
  /** What is sent goes nowhere, and nobody is told. */
  freeze(): void;
}

/** A way to a server that can be cut or frozen: what a broken switch, or a stopped machine, looks like from here. */
export async function openWire(url: string): Promise<Wire> {
  const target = new URL(url);
  const pairs = new Set<[Socket, Socket]>();
  let server: Server;
  let port = 0;

  const carry = (client: Socket) => {
    const upstream = connect(Number(target.port), target.hostname);
    const pair: [Socket, Socket] = [client, upstream];
    pairs.add(pair);
    for (const socket of pair) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const each of pair) each.destroy();
        pairs.delete(pair);
      });
    }
    client.pipe(upstream).pipe(client);
  };

  const mend = () =>
    new Promise<void>(resolve => {
      server = createServer(carry).listen(port, '127.0.0.1', () => {
        port = (server.address() as AddressInfo).port;
        resolve();
      });
    });

  const cut = () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      for (const pair of pairs) for (const socket of pair) socket.destroy();
    });

  const freeze = () => {
    for (const [client, upstream] of pairs) {
      client.unpipe(upstream).pause();
      upstream.unpipe(client).pause();
    }
  };

  await mend();
  const through = new URL(url);
  through.port = String(port);
  return { url: through.href, cut, mend, freeze };
}
