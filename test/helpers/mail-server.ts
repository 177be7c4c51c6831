import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { type ParsedMail, simpleParser } from 'mailparser';
import { SMTPServer, type SMTPServerSession } from 'smtp-server';
import { afterAll } from 'vitest';

/** A mail that the server has taken: answered with 250. */
export interface ReceivedMail {
  to: string;
  messageId: string;
  parsed: ParsedMail;
}

/** What the server does with a mail: takes it, refuses it with that code, never answers, or takes it and hangs up. */
export type Reaction = 'accept' | number | 'hang' | 'hang up';

const running = new Set<MailServer>();
afterAll(async () => {
  await Promise.all([...running].map(server => server.stop()));
});

/** A real SMTP server in this process, which can misbehave. Stopped at the end of the file. */
export class MailServer {
  /** In the order in which they were taken. */
  readonly received: ReceivedMail[] = [];
  /** Recipients of every mail whose DATA arrived, taken or not. */
  readonly tried: string[] = [];
  onRecipient: (address: string) => 'accept' | number = () => 'accept';
  onMail: (address: string) => Reaction | Promise<Reaction> = () => 'accept';
  #server: SMTPServer | undefined;
  #sockets = new Set<Socket>();
  #port = 0;

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  static async start(): Promise<MailServer> {
    const server = new MailServer();
    await server.start();
    return server;
  }

  get url(): string {
    return `smtp://127.0.0.1:${this.#port}`;
  }

  /** Starts, after a stop on the same port. */
  async start(): Promise<void> {
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      disableReverseLookup: true,
      closeTimeout: 50,
      onRcptTo: ({ address }, _, callback) => answer(this.onRecipient(address), callback),
      onData: (stream, session, callback) => void this.#take(stream, session, callback),
    });
    server.on('error', () => undefined); // clients that go in the middle of a word
    server.server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    const listening = Promise.withResolvers<void>();
    server.listen(this.#port, '127.0.0.1', listening.resolve);
    await listening.promise;
    this.#port = (server.server.address() as AddressInfo).port;
    this.#server = server;
    running.add(this);
  }

  /** Stops at once: connections are cut. */
  async stop(): Promise<void> {
    running.delete(this);
    const closed = Promise.withResolvers<void>();
    if (this.#server) this.#server.close(closed.resolve);
    else closed.resolve();
    for (const socket of this.#sockets) socket.destroy();
    await closed.promise;
    this.#server = undefined;
  }

  async #take(
    stream: NodeJS.ReadableStream,
    session: SMTPServerSession,
    callback: (error?: Error | null, message?: string) => void,
  ): Promise<void> {
    // A client that is killed in the middle of a mail has sent none.
    const parsed = await simpleParser(stream as never).catch(() => undefined);
    if (!parsed) return;
    const to = session.envelope.rcptTo[0]?.address ?? '';
    this.tried.push(to);
    const reaction = await this.onMail(to);
    if (reaction === 'hang') return;
    if (typeof reaction === 'number') return answer(reaction, callback);
    this.received.push({ to, messageId: parsed.messageId ?? '', parsed });
    callback(null, 'OK: taken');
    if (reaction === 'hang up') setImmediate(() => this.#cut(session.remotePort));
  }

  #cut(port: number): void {
    for (const socket of this.#sockets) if (socket.remotePort === port) socket.destroy();
  }
}

function answer(reaction: 'accept' | number, callback: (error?: Error | null) => void): void {
  if (reaction === 'accept') callback();
  else callback(Object.assign(new Error(`no, says ${reaction}`), { responseCode: reaction }));
}

/** A TCP server that takes connections and says what it is told to, once, or nothing at all. */
export async function startMuteServer(greeting = ''): Promise<{ url: string; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    if (greeting) socket.write(greeting);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise(resolve => server.close(resolve));
    },
  };
}
