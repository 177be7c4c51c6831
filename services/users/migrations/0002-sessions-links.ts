import { migration } from '../../../mixins/db/migrations';

export default migration(
  '0002-sessions-links',
  `
  create table sessions (
    id uuid primary key,
    company_id uuid not null,
    user_id uuid not null,
    device text,
    created_at timestamptz(3) not null default now(),
    last_used_at timestamptz(3) not null default now(),
    ended_at timestamptz(3),
    foreign key (company_id, user_id) references users (company_id, id)
  );
  create index sessions_live_idx on sessions (company_id, user_id) where ended_at is null;

  -- The family of a session: each use spends the token and makes the next. Only hashes are stored; a successor is kept
  -- sealed under its spent predecessor, for the phone whose answer got lost.
  create table refresh_tokens (
    token_hash bytea primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    expires_at timestamptz(3) not null,
    spent_at timestamptz(3),
    successor_hash bytea,
    successor_sealed text
  );
  create index refresh_tokens_session_idx on refresh_tokens (session_id);
  create index refresh_tokens_expiry_idx on refresh_tokens (expires_at);

  -- Salts of passwords are derived from it and the address: see sign-in.ts.
  create table login_secret (
    singleton boolean primary key default true check (singleton),
    secret bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
  );
  insert into login_secret default values;

  create table link_tokens (
    token_hash bytea primary key,
    company_id uuid not null,
    user_id uuid not null,
    kind text not null check (kind in ('INVITE')),
    -- Where the link was sent: an address that changed since then is not verified by it.
    address text not null,
    expires_at timestamptz(3) not null,
    used_at timestamptz(3),
    created_at timestamptz(3) not null default now(),
    foreign key (company_id, user_id) references users (company_id, id)
  );
  create index link_tokens_user_idx on link_tokens (company_id, user_id);
  `,
);
