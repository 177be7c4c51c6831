import pg from 'pg';

type Handler = (payload: string) => void;

/**
 * Follows NOTIFY of one database on a connection of its own, and comes back by itself after an outage. What was said
 * meanwhile is lost: handlers are called once with an empty payload after each reconnection, so that they look.
 */
export class Listener {
  readonly #handlers = new Map<string, Set<Handler>>();
  #client: pg.Client | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    private readonly url: string,
    private readonly onError: (error: Error) => void,
  ) {}

  /** Calls `handler` for each NOTIFY on the channel until the returned function is called. */
  on(channel: string, handler: Handler): () => void {
    const handlers = this.#handlers.get(channel) ?? new Set();
    this.#handlers.set(channel, handlers.add(handler));
    if (!this.#client) void this.#connect();
    else if (handlers.size === 1) this.#client.query(`listen ${pg.escapeIdentifier(channel)}`).catch(() => undefined);
    return () => handlers.delete(handler);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#client?.end().catch(() => undefined);
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({ connectionString: this.url, connectionTimeoutMillis: 3_000, keepAlive: true });
    this.#client = client;
    client.on('notification', ({ channel, payload }) => this.#tell(channel, payload ?? ''));
    client.on('error', error => this.#lost(client, error));
    client.on('end', () => this.#lost(client));
    try {
      await client.connect();
      for (const channel of this.#handlers.keys()) await client.query(`listen ${pg.escapeIdentifier(channel)}`);
      for (const channel of this.#handlers.keys()) this.#tell(channel, '');
    } catch (error) {
      this.#lost(client, error as Error);
    }
  }

  #tell(channel: string, payload: string): void {
    for (const handler of this.#handlers.get(channel) ?? []) handler(payload);
  }

  #lost(client: pg.Client, error?: Error): void {
    if (this.#closed || this.#client !== client) return;
    this.#client = undefined;
    if (error) this.onError(error);
    client.end().catch(() => undefined);
    this.#retry = setTimeout(() => void this.#connect(), 1_000);
  }
}
