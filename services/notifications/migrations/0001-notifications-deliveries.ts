import { migration } from '../../../mixins/db/migrations';

export default migration(
  '0001-notifications-deliveries',
  `
  -- What somebody is told. One row for each person and event; nothing here refers to a table of another domain.
  create table notifications (
    id uuid primary key,
    company_id uuid not null,
    user_id uuid not null,
    kind text not null,
    params jsonb not null default '{}',
    urgent boolean not null default false,
    dedupe_key text not null,
    -- A link token, sealed; forgotten as soon as nothing is left to be sent.
    sealed text,
    -- After this it is not worth telling.
    expires_at timestamptz(3),
    created_at timestamptz(3) not null default now(),
    unique (company_id, id)
  );
  create unique index notifications_dedupe_key on notifications (company_id, user_id, dedupe_key);

  -- How they are told: one row for each notification and channel.
  create table deliveries (
    id uuid primary key,
    company_id uuid not null,
    notification_id uuid not null,
    channel text not null check (channel in ('MAIL')),
    -- FAILED: refused, will be tried again. DEAD: given up. SUPPRESSED: no longer wanted, for the reason named.
    status text not null default 'PENDING' check (status in ('PENDING', 'SENT', 'FAILED', 'DEAD', 'SUPPRESSED')),
    reason text check ((reason is not null) = (status = 'SUPPRESSED')),
    tries integer not null default 0,
    refusals integer not null default 0,
    next_try_at timestamptz(3) not null default now(),
    last_error text,
    provider_id text,
    -- Whoever is sending it renews the claim; when they die it runs out, and another instance goes on.
    claimed_by uuid,
    claimed_until timestamptz(3),
    created_at timestamptz(3) not null default now(),
    settled_at timestamptz(3) check ((settled_at is not null) = (status in ('SENT', 'DEAD', 'SUPPRESSED'))),
    foreign key (company_id, notification_id) references notifications (company_id, id) on delete cascade
  );
  create unique index deliveries_notification_channel_key on deliveries (company_id, notification_id, channel);
  create index deliveries_due_idx on deliveries (next_try_at) where status in ('PENDING', 'FAILED');
  create index deliveries_claimed_idx on deliveries (claimed_by) where claimed_by is not null;
  `,
);
