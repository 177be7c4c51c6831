import { mkdirSync } from 'node:fs';
import pg from 'pg';
import { type RunningPostgres, startPostgres } from '../../../mixins/embedded/postgres';
import { signal } from '../../../mixins/embedded/processes';

const silent = { info() {}, warn() {} };

/** A PostgreSQL with one database, to be killed and started again on the same port. */
export class OwnPostgres {
  private constructor(
    private running: RunningPostgres,
    private readonly dataDir: string,
    private readonly database: string,
  ) {}

  static async start(dataDir: string, database: string): Promise<OwnPostgres> {
    mkdirSync(dataDir, { mode: 0o711 });
    return new OwnPostgres(await startPostgres({ dataDir, databases: [database], log: silent }), dataDir, database);
  }

  get url(): string {
    return this.running.urls[this.database] ?? '';
  }

  /** Ends it as a power cut does; nobody starts it again until `restart`. */
  async kill(): Promise<void> {
    signal(this.running.pid, 'SIGKILL');
    await this.running.stop();
  }

  async restart(): Promise<void> {
    const port = Number(new URL(this.url).port);
    this.running = await startPostgres({ dataDir: this.dataDir, databases: [this.database], log: silent, port });
  }

  /** Makes the database anew, with nothing in it. */
  async empty(): Promise<void> {
    const client = new pg.Client({ connectionString: this.running.adminUrl });
    await client.connect();
    await client.query(`drop database ${pg.escapeIdentifier(this.database)} with (force)`);
    await client.query(`create database ${pg.escapeIdentifier(this.database)}`);
    await client.end();
  }

  stop(): Promise<void> {
    return this.running.stop();
  }
}
