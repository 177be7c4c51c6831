import type { ServiceBroker } from 'moleculer';
import pg from 'pg';
import type { PurgeRule } from '../db/purge-rule';
import { type Queryable, type Statement, statement } from '../db/statement';
import { columnTypes } from '../db/types';
import type { Carrier } from './carrier';
import type { Outbox } from './outbox';
import type { Retention } from './retention';

// Any number will do, as long as every instance takes the same one. Advisory locks are per database.
const PURGE_LOCK = 4_120_918;
const BATCH = 5_000;

type Purged = { deleted: number };
type Days = { days: number; limit: number };

const deleteOlder = (table: string, column: string, key: string): Statement<Days, Purged> =>
  statement(
    `events.purge.${table}`,
    `with gone as (
       delete from ${table} where (${key}) in (
         select ${key} from ${table} where ${column} < now() - make_interval(days => $days::int) limit $limit)
       returning 1
     )
     select count(*) as deleted from gone`,
  );

const purgeInbox = deleteOlder('inbox', 'handled_at', 'event_id, service');
const purgeDeadLetters = deleteOlder('dead_letters', 'failed_at', 'event_id, service, kind');
const purgeRefused = deleteOlder('outbox_dead', 'refused_at', 'seq');
const purgeSent = deleteOlder('outbox', 'published_at', 'seq');

// The newest row of a key stays, so that whoever starts to read finds every aggregate; a tombstone is nothing to find.
// Oldest first: a tombstone that went before what it covers would leave that as the newest.
const purgeLog = statement<Days & { readByAll: number }, Purged>(
  'events.purge.log',
  `with gone as (
     delete from outbox where seq in (
       select seq from outbox as old
       where published_at < now() - make_interval(days => $days::int) and position <= $readByAll
         and (not compacted or envelope is null or exists (
           select from outbox as newer
           where newer.compacted and newer.topic = old.topic and newer.key = old.key and newer.position > old.position))
       order by position limit $limit)
     returning 1
   )
   select count(*) as deleted from gone`,
);

interface PurgeOptions {
  url: string;
  outbox: Outbox;
  carrier: Carrier;
  retention: Retention;
  /** What else is to go from the same database. */
  rules: readonly PurgeRule[];
  log: Pick<ServiceBroker['logger'], 'info'>;
}

/**
 * Deletes from one database what retention no longer asks for, in batches. Of several processes one does it.
 * @returns how many rows went
 */
export async function purge({ url, outbox, carrier, retention, rules, log }: PurgeOptions): Promise<number> {
  const readByAll = carrier.readByAll ? ((await carrier.readByAll(outbox)) ?? 0) : undefined;
  // A session's lock ends with its connection, and a pool may close its own at any time.
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3_000, statement_timeout: 60_000 });
  client.on('error', () => undefined); // seen by the query that follows
  await client.connect();
  try {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [PURGE_LOCK]);
    if (!rows[0]?.locked) return 0;
    const on: Queryable = {
      execute: async ({ name, text }, values) => (await client.query({ name, text, values, types: columnTypes })).rows,
    };
    let total = 0;
    for (const rule of [...rulesOf(retention, readByAll), ...rules]) total += await inBatches(rule, on);
    if (total > 0) log.info(`Purged ${total} rows of ${outbox.name} that are no longer needed`);
    return total;
  } finally {
    await client.end();
  }
}

function rulesOf(retention: Retention, readByAll: number | undefined): PurgeRule[] {
  const rule =
    <Params extends object>(of: Statement<Params & { limit: number }, Purged>, params: Params): PurgeRule =>
    async (on, limit) =>
      (await of.one(on, { ...params, limit })).deleted;
  const { inboxDays, outboxDays, deadLetterDays } = retention;
  return [
    rule(purgeInbox, { days: inboxDays }),
    rule(purgeDeadLetters, { days: deadLetterDays }),
    rule(purgeRefused, { days: deadLetterDays }),
    readByAll === undefined ? rule(purgeSent, { days: outboxDays }) : rule(purgeLog, { days: outboxDays, readByAll }),
  ];
}

async function inBatches(rule: PurgeRule, on: Queryable): Promise<number> {
  for (let total = 0; ; ) {
    const deleted = await rule(on, BATCH);
    total += deleted;
    if (deleted < BATCH) return total;
  }
}
