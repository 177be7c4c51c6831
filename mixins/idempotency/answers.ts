import { migration } from '../db/migrations';
import { purgeWhere } from '../db/purge-rule';
import { type Queryable, statement } from '../db/statement';

/** A key belongs to one person and one action: somebody else's is another key. */
export interface Scope {
  companyId: string;
  userId: string;
  /** Name of the action, which stands for method and route. */
  action: string;
  key: string;
}

/** What a request was answered with, as it is answered again. */
export interface Answer {
  status: number;
  /** The action's answer, checked against its contract already; absent for a 204 and where it is not kept. */
  result?: unknown;
  /** Instead of an answer: the problem, as it is thrown. */
  problem?: { message: string; type: string; data: unknown } | null;
  /** The answer held a secret: only that it was given is known. */
  isSecret: boolean;
}

/** An answer and the hash of the request that it was given to. */
export interface KeptAnswer extends Answer {
  requestHash: Buffer;
}

/** The first answers to requests with an Idempotency-Key, each written together with the change itself. */
export const idempotencyMigration = migration(
  'idempotency-keys',
  `create table idempotency_keys (
    company_id uuid not null,
    user_id uuid not null,
    action text not null,
    key text not null,
    request_hash bytea not null,
    created_at timestamptz(3) not null default now(),
    status int,
    -- json, not jsonb: answered again as it was, in its order.
    result json,
    problem json,
    is_secret boolean not null default false,
    primary key (company_id, user_id, action, key)
  );
  create index idempotency_keys_created_at_idx on idempotency_keys (created_at);`,
);

const SCOPE = 'company_id = $companyId and user_id = $userId and action = $action and key = $key';
const IS_CURRENT = "created_at > now() - interval '24 hours'";

/** The answer kept under a key; another transaction's is seen once it is committed. */
export const findAnswer = statement<Scope, KeptAnswer>(
  'idempotency.findAnswer',
  `select request_hash as "requestHash", status, result, problem, is_secret as "isSecret"
  from idempotency_keys where ${SCOPE} and ${IS_CURRENT} and status is not null`,
);

/** From here on a lock is waited for so long, in this transaction only. */
export const limitLockWait = statement<{ timeout: string }>(
  'idempotency.limitLockWait',
  `select set_config('lock_timeout', $timeout, true)`,
);

/**
 * Takes a key for this transaction; a twin that has it waits here until this one is committed or rolled back.
 * No row: the key was used before.
 */
export const claimKey = statement<Scope & { requestHash: Buffer }, { key: string }>(
  'idempotency.claimKey',
  `insert into idempotency_keys as kept (company_id, user_id, action, key, request_hash)
  values ($companyId, $userId, $action, $key, $requestHash)
  on conflict (company_id, user_id, action, key) do update set
    request_hash = excluded.request_hash, created_at = excluded.created_at,
    status = null, result = null, problem = null, is_secret = false
  where kept.created_at <= now() - interval '24 hours'
  returning key`,
);

interface AnswerText {
  status: number;
  result: string | undefined;
  problem: string | undefined;
  isSecret: boolean;
}

const setAnswer = statement<Scope & AnswerText>(
  'idempotency.setAnswer',
  `update idempotency_keys set status = $status, result = $result::json, problem = $problem::json, is_secret = $isSecret
  where ${SCOPE}`,
);

/** Writes the answer to a key that this transaction has claimed. */
export async function keepAnswer(on: Queryable, scope: Scope, { status, result, problem, isSecret }: Answer): Promise<void> {
  await setAnswer.all(on, {
    ...scope,
    status,
    result: isSecret ? undefined : JSON.stringify(result),
    problem: problem ? JSON.stringify(problem) : undefined,
    isSecret,
  });
}

/** Deletes keys whose answers are not given again any more: those older than 24 hours. */
export const purgeIdempotencyKeys = purgeWhere('idempotency_keys', "created_at <= now() - interval '24 hours'");
