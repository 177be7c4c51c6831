import { type Migration, migration } from '../db/migrations';
import { commonProblems, type ProblemFactory } from '../errors';

/** What the event log's constraints mean to a caller. */
export const eventLogConstraints: Readonly<Record<string, ProblemFactory>> = {
  outbox_envelope_size: commonProblems.EVENT_TOO_LARGE,
};

/** Tables of the event log, in the database of every domain. */
export const eventLogMigrations: readonly Migration[] = [
  migration(
    'events-0001-outbox',
    `
    -- Facts on their way out. The envelope is text: it leaves as it came, and a NUL escaped in JSON is no error in it.
    create table outbox (
      -- Drawn after the aggregate's row is locked, hence in order for each key.
      seq bigint generated always as identity primary key,
      -- Place in the log where the outbox itself is the log; null until it is stamped.
      position bigint constraint outbox_position_key unique,
      id uuid not null,
      topic text not null,
      key text not null,
      company_id uuid not null,
      version integer not null,
      -- State topics keep the newest row of each key for ever.
      compacted boolean not null,
      -- Null is a tombstone: whatever was kept under the key is to be forgotten.
      envelope text constraint outbox_envelope_size check (octet_length(envelope) <= 262144),
      recorded_at timestamptz(3) not null default now(),
      published_at timestamptz(3)
    );
    create index outbox_unpublished_idx on outbox (seq) where published_at is null;
    create index outbox_compacted_idx on outbox (topic, key, position) where compacted;

    -- Rows that the carrier refused, taken out so that the others flow on.
    create table outbox_dead (
      seq bigint primary key,
      id uuid not null,
      topic text not null,
      key text not null,
      company_id uuid not null,
      version integer not null,
      compacted boolean not null,
      envelope text,
      recorded_at timestamptz(3) not null,
      error text not null,
      refused_at timestamptz(3) not null default now()
    );

    -- One row: who publishes, until when by this database's clock. A new epoch for each new holder.
    create table relay_lease (
      singleton boolean primary key default true check (singleton),
      owner uuid,
      epoch bigint not null default 0,
      expires_at timestamptz not null default '-infinity'
    );
    insert into relay_lease default values;

    -- One row: the log that the outbox is. Another id is another log, of which nobody has read anything.
    create table event_log (
      singleton boolean primary key default true check (singleton),
      id uuid not null default gen_random_uuid(),
      last_position bigint not null default 0
    );
    insert into event_log default values;

    -- How far the groups have read the log, as they last said: rows above the smallest are not deleted.
    create table event_log_readers (
      group_name text primary key,
      position bigint not null,
      seen_at timestamptz(3) not null default now()
    );
    `,
  ),
  migration(
    'events-0002-consumers',
    `
    -- How far this domain has read a log, for each topic that it follows. Up to first_end the events were there before
    -- the domain first looked.
    create table consumer_offsets (
      source text not null,
      topic text not null,
      log_id uuid not null,
      position bigint not null,
      first_end bigint not null,
      primary key (source, topic)
    );

    -- Reactions that happened: an event that comes twice finds its row here.
    create table inbox (
      event_id text not null,
      service text not null,
      handled_at timestamptz(3) not null default now(),
      primary key (event_id, service)
    );
    create index inbox_handled_idx on inbox (handled_at);

    -- Events that a handler failed on, time and again.
    create table dead_letters (
      event_id text not null,
      service text not null,
      kind text not null check (kind in ('replica', 'reaction')),
      topic text not null,
      key text not null,
      envelope text not null,
      error text not null,
      tries integer not null,
      failed_at timestamptz(3) not null default now(),
      primary key (event_id, service, kind)
    );
    create index dead_letters_failed_idx on dead_letters (failed_at);

    -- Reactions about somebody whom this domain does not know yet.
    create table parked_events (
      event_id text not null,
      service text not null,
      topic text not null,
      key text not null,
      envelope text not null,
      waits_for uuid not null,
      tries integer not null default 0,
      is_due boolean not null default false,
      parked_at timestamptz(3) not null default now(),
      tried_at timestamptz(3) not null default now(),
      primary key (event_id, service)
    );
    create index parked_events_waits_idx on parked_events (waits_for);
    `,
  ),
  migration(
    'events-0003-parked-arrivals',
    `
    -- How often whoever a parked event waits for has arrived: one try does not undo what came after its look.
    alter table parked_events add column arrivals integer not null default 0;
    `,
  ),
  migration(
    'events-0004-emptied-groups',
    `
    -- How far a group has ever read. Its own offset is gone when its database was emptied, and so is its inbox.
    alter table event_log_readers add column furthest bigint not null default 0;
    update event_log_readers set furthest = position;

    -- Up to here the group had read the log before its database was emptied: nothing reacts to that again.
    alter table consumer_offsets add column read_before bigint not null default 0;
    `,
  ),
  migration(
    'events-0005-lease-node',
    `
    -- Whose lease it is, for people: the id of the node.
    alter table relay_lease add column node text;
    `,
  ),
];
