import type { Database } from '../db/database';
import { migration } from '../db/migrations';
import { type Queryable, statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import type { Authenticator } from './authenticator';

/** Sessions whose access tokens are refused although they have not expired. */
export const endedSessionsMigration = migration(
  'ended-sessions',
  `create table ended_sessions (
    sid uuid primary key,
    -- When the last access token of the session has expired.
    until timestamptz(3) not null,
    ended_at timestamptz(3) not null default clock_timestamp()
  );
  create index ended_sessions_ended_at_idx on ended_sessions (ended_at);`,
);

interface EndedSession {
  sid: string;
  until: string;
  endedAt: string;
}

// Sorted, so that two that end the same sessions cannot wait for each other.
const insertEndedSessions = statement<{ sids: readonly string[]; until: string }>(
  'endedSessions.insert',
  `insert into ended_sessions (sid, until)
  select sid, $until from unnest($sids::uuid[]) as sid order by sid
  on conflict (sid) do nothing`,
);

const listEndedSessions = statement<{ since: string }, EndedSession>(
  'endedSessions.list',
  `select sid, until, ended_at as "endedAt" from ended_sessions where ended_at > $since and until > now() order by ended_at`,
);

const removeExpired = statement('endedSessions.removeExpired', 'delete from ended_sessions where until < now()');

const notify = statement('endedSessions.notify', `select pg_notify('ended_sessions', '')`);

const CHANNEL = 'ended_sessions';
const POLL_MS = 2_000;
const PURGE_MS = 5 * 60_000;
/** Longer than a transaction lasts: one that began earlier may be committed after a later one was seen. */
const OVERLAP_MS = 5 * 60_000;

/**
 * Refuses the access tokens of sessions from the moment in which the change is durable: in this process at once, in
 * others of the domain within milliseconds.
 * @param sids the sessions
 * @param until instant at which the last of their tokens has expired, clocks that differ included
 */
export async function endSessions(tx: Transaction, sids: readonly string[], until: string): Promise<void> {
  const follower = tx.owner && followerOf(tx.owner);
  if (!follower) throw new Error(`Nobody follows the ended sessions of ${tx.database}: its services lack endedSessions()`);
  await insertEndedSessions.all(tx, { sids, until });
  tx.afterCommit(() => follower.announce(sids, until));
}

/** Deletes ended sessions whose tokens have all expired. */
export async function purgeEndedSessions(on: Queryable): Promise<void> {
  await removeExpired.all(on, {});
}

/**
 * Keeps the sessions that an authenticator refuses in step with one database, whichever process ended them: reads them
 * at start, when told by NOTIFY, and each 2 s in case that nobody could tell.
 */
class EndedSessionsFollower {
  #users = 0;
  #since = '-infinity';
  #reading: Promise<void> | undefined;
  #isStale = false;
  #poll: NodeJS.Timeout | undefined;
  #purge: NodeJS.Timeout | undefined;
  #unlisten: (() => void) | undefined;

  constructor(
    private readonly database: Database,
    private readonly authenticator: Authenticator,
  ) {}

  /** Begins to follow, once however many services ask; resolves with the first reading, if the database is there. */
  async retain(): Promise<void> {
    if (++this.#users === 1) void this.#follow();
    await this.database.firstTry;
    if (this.database.isReady) await this.read();
  }

  /** Ends with the last service that asked. */
  release(): void {
    if (--this.#users > 0) return;
    clearInterval(this.#poll);
    clearInterval(this.#purge);
    this.#unlisten?.();
  }

  /** What has just been committed here: refused from now on, and told to the other processes. */
  announce(sids: readonly string[], until: string): void {
    for (const sid of sids) this.authenticator.endSession(sid, Date.parse(until));
    // After the commit and by itself: inside, NOTIFY would make all commits of the database wait for each other. When
    // it fails, the others see it with their next look.
    notify.all(this.database, {}).catch(() => undefined);
  }

  /** Reads what is new. Whoever asks during a reading gets the one that begins after it. */
  read(): Promise<void> {
    if (this.#reading) {
      this.#isStale = true;
      return this.#reading;
    }
    this.#reading = this.#readUntilFresh().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #follow(): Promise<void> {
    await this.database.whenReady().catch(() => undefined);
    if (!this.database.isReady || this.#users === 0) return;
    this.#unlisten = this.database.listener.on(CHANNEL, () => void this.read());
    this.#poll = setInterval(() => void this.read(), POLL_MS).unref();
    this.#purge = setInterval(() => this.#forgetExpired(), PURGE_MS).unref();
    void this.read();
  }

  async #readUntilFresh(): Promise<void> {
    do {
      this.#isStale = false;
      // Out of reach: those known stay refused, and the next look comes soon.
      const ended = await listEndedSessions.all(this.database, { since: this.#since }).catch(() => []);
      for (const { sid, until } of ended) this.authenticator.endSession(sid, Date.parse(until));
      const last = ended.at(-1);
      if (last) this.#since = new Date(Date.parse(last.endedAt) - OVERLAP_MS).toISOString();
    } while (this.#isStale && this.#users > 0);
  }

  #forgetExpired(): void {
    this.authenticator.forgetExpired();
    purgeEndedSessions(this.database).catch(() => undefined);
  }
}

// On the database, which services and transactions know. Not in this module: after a hot reload there are two of it.
const FOLLOWER = Symbol.for('hiver.ended-sessions');
type Holder = { [FOLLOWER]?: EndedSessionsFollower };

function followerOf(database: object): EndedSessionsFollower | undefined {
  return (database as Holder)[FOLLOWER];
}

/** The follower of a database, one for all services that share it. */
export function followEndedSessions(database: Database, authenticator: Authenticator): EndedSessionsFollower {
  const holder = database as Database & Holder;
  holder[FOLLOWER] ??= new EndedSessionsFollower(database, authenticator);
  return holder[FOLLOWER];
}
