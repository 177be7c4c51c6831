import { batch } from '../../mixins/db/batch';
import { type PurgeRule, purgeWhere } from '../../mixins/db/purge-rule';
import { statement } from '../../mixins/db/statement';
import type { Person } from './users.model';

/** Begins a session with its first refresh token. */
export const insertSession = statement<{
  id: string;
  companyId: string;
  userId: string;
  device: string | undefined;
  tokenHash: Buffer;
  days: number;
}>(
  'sessions.insert',
  `with session as (
     insert into sessions (id, company_id, user_id, device)
     values ($id::uuid, $companyId::uuid, $userId::uuid, $device::text) returning id)
   insert into refresh_tokens (token_hash, session_id, expires_at)
   select $tokenHash::bytea, session.id, now() + make_interval(days => $days::int) from session`,
);

export interface PresentedToken {
  sessionId: string;
  companyId: string;
  userId: string;
  isLive: boolean;
  isSpent: boolean;
  /** Spent so recently that the phone may have missed the answer, and its successor is not used yet. */
  mayBeRepeated: boolean;
  successorSealed: string | null;
}

/** Holds the session of a token: twenty phones with one token take turns here. */
export const lockSessionOfToken = statement<{ tokenHash: Buffer }, { id: string }>(
  'sessions.lockOfToken',
  `select s.id from sessions s join refresh_tokens t on t.session_id = s.id where t.token_hash = $tokenHash
   for no key update of s`,
);

/**
 * The token that somebody presents, with its session. A statement of its own after the lock, so that it sees what the
 * one before did. Times are the database's.
 */
export const getPresentedToken = statement<{ tokenHash: Buffer; graceSeconds: number }, PresentedToken>(
  'sessions.getPresentedToken',
  `select s.id as "sessionId", s.company_id as "companyId", s.user_id as "userId", t.successor_sealed as "successorSealed",
     s.ended_at is null and t.expires_at > now() as "isLive", t.spent_at is not null as "isSpent",
     coalesce(t.spent_at > now() - make_interval(secs => $graceSeconds::int) and n.spent_at is null, false) as "mayBeRepeated"
   from refresh_tokens t join sessions s on s.id = t.session_id
   left join refresh_tokens n on n.token_hash = t.successor_hash
   where t.token_hash = $tokenHash`,
);

/** Spends a token for its successor. */
export const rotateRefreshToken = statement<{
  tokenHash: Buffer;
  sessionId: string;
  successorHash: Buffer;
  successorSealed: string;
  days: number;
}>(
  'sessions.rotateRefreshToken',
  `with spent as (
     update refresh_tokens set spent_at = now(), successor_hash = $successorHash::bytea, successor_sealed = $successorSealed::text
     where token_hash = $tokenHash::bytea),
   used as (update sessions set last_used_at = now() where id = $sessionId::uuid)
   insert into refresh_tokens (token_hash, session_id, expires_at)
   values ($successorHash::bytea, $sessionId::uuid, now() + make_interval(days => $days::int))`,
);

/** Ends one live session; no row when it had ended already. */
export const endSession = statement<{ companyId: string; id: string }, { id: string }>(
  'sessions.end',
  'update sessions set ended_at = now() where company_id = $companyId and id = $id and ended_at is null returning id',
);

/** Ends every live session of a person. */
export const endSessionsOf = statement<{ companyId: string; userId: string }, { id: string }>(
  'sessions.endAllOf',
  'update sessions set ended_at = now() where company_id = $companyId and user_id = $userId and ended_at is null returning id',
);

/** An account that an address and a password belong to. */
export interface Account {
  id: string;
  companyId: string;
}

/** The active account with that address and password; the verified one, if there are several. */
export const findAccountByHash = statement<{ email: string; passwordHash: string }, Account>(
  'sessions.findAccount',
  `select id, company_id as "companyId" from users
   where lower(email) = lower($email) and password_hash = $passwordHash and status = 'ACTIVE'
   order by email_verified_at is null, created_at, id limit 1`,
);

export const getLoginSecret = statement<object, { secret: Buffer }>('sessions.getLoginSecret', 'select secret from login_secret');

export interface PresentedLink {
  companyId: string;
  userId: string;
  address: string;
  isExpired: boolean;
  isUsed: boolean;
  email: string;
  status: Person['status'];
}

/** A link by the hash of its token. */
export const findLink = statement<{ tokenHash: Buffer; kind: 'INVITE' }, PresentedLink>(
  'links.find',
  `select l.company_id as "companyId", l.user_id as "userId", l.address, l.expires_at <= now() as "isExpired",
     l.used_at is not null as "isUsed", u.email, u.status
   from link_tokens l join users u on u.company_id = l.company_id and u.id = l.user_id
   where l.token_hash = $tokenHash and l.kind = $kind`,
);

export const useLink = statement<{ tokenHash: Buffer }>(
  'links.use',
  'update link_tokens set used_at = now() where token_hash = $tokenHash',
);

/** Links that lead nowhere any more, because the address changed. */
export const removeUnusedLinks = statement<{ companyId: string; userId: string }>(
  'links.removeUnused',
  'delete from link_tokens where company_id = $companyId and user_id = $userId and used_at is null',
);

export interface LinkTokenRow {
  /** Base64. */
  tokenHash: string;
  companyId: string;
  userId: string;
  kind: 'INVITE';
  address: string;
  expiresAt: string;
}

export const linkTokens = batch<LinkTokenRow>(
  'links.insert',
  `insert into link_tokens (token_hash, company_id, user_id, kind, address, expires_at)
   select decode("tokenHash", 'base64'), "companyId", "userId", kind, address, "expiresAt"
   from jsonb_to_recordset($rows::jsonb)
     as link("tokenHash" text, "companyId" uuid, "userId" uuid, kind text, address text, "expiresAt" timestamptz)`,
);

/** Two sign-ups with one address take turns, so that a double tap makes one account. */
export const lockAddress = statement<{ email: string }>(
  'signUp.lockAddress',
  "select pg_advisory_xact_lock(hashtextextended('sign-up ' || lower($email::text), 0))",
);

/** What nobody can use any more. A session outlives its last refresh token, which lives 30 days. */
export const sessionPurges: readonly PurgeRule[] = [
  purgeWhere('refresh_tokens', "expires_at < now() - interval '1 day'"),
  purgeWhere('link_tokens', "expires_at < now() - interval '30 days'"),
  purgeWhere('sessions', "last_used_at < now() - interval '32 days'"),
];
