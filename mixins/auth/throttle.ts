import { createHash } from 'node:crypto';
import { migration } from '../db/migrations';
import { purgeWhere } from '../db/purge-rule';
import { type Queryable, statement } from '../db/statement';
import { commonProblems } from '../errors';

/** Who tries to sign in: the account that they name, known or not, and where they come from. */
export interface Attempt {
  email: string;
  /** Address of the client, IPv6 cut to its /64. Calls from inside have none. */
  clientAddress?: string | undefined;
}

/** Failures that are allowed in any 15 minutes. A whole factory may be behind one address. */
export const FAILURE_LIMITS = { account: 10, address: 300 } as const;

/** Failed attempts of the last 15 minutes, by account and by address. */
export const throttleMigration = migration(
  'login-failures',
  `create table login_failures (
    -- SHA-256 of the account or address, so that the table names nobody.
    subject bytea primary key,
    failed_at timestamptz(3)[] not null,
    last_failed_at timestamptz(3) not null
  );
  create index login_failures_last_failed_at_idx on login_failures (last_failed_at);`,
);

interface Subject {
  subject: Buffer;
  most: number;
}

const RECENT = "at > clock_timestamp() - interval '15 minutes'";
/** Seconds until the oldest of the failures that fill the limit is 15 minutes old. */
const SECONDS = "greatest(1, ceil(extract(epoch from min(at) + interval '15 minutes' - clock_timestamp())))::int";

const findWaits = statement<{ subjects: Buffer[]; limits: number[] }, { seconds: number }>(
  'throttle.findWaits',
  `select recent.seconds from unnest($subjects::bytea[], $limits::int[]) as asked (subject, most)
  join login_failures using (subject)
  cross join lateral (
    select count(*) as failures, ${SECONDS} as seconds from unnest(failed_at) as at where ${RECENT}
  ) as recent
  where recent.failures >= asked.most`,
);

/**
 * Notes a failure, unless the limit is reached: then it gives the seconds to wait. The row's lock makes parallel
 * guesses take turns, so that no more of them than the limit are told that they were wrong.
 */
const noteFailure = statement<Subject, { seconds: number | null }>(
  'throttle.noteFailure',
  `insert into login_failures as known (subject, failed_at, last_failed_at)
  values ($subject, array[clock_timestamp()], clock_timestamp())
  on conflict (subject) do update set
    failed_at = (
      select coalesce(array_agg(at order by at), '{}') ||
        case when count(*) < $most::int then array[clock_timestamp()] else '{}' end
      from unnest(known.failed_at) as at where ${RECENT}
    ),
    last_failed_at = clock_timestamp()
  returning (
    select case when count(*) >= $most::int then ${SECONDS} end from unnest(old.failed_at) as at where ${RECENT}
  ) as seconds`,
);

/**
 * Before a password is looked at, and again when it was right: a burst of parallel guesses may have used the limit up
 * meanwhile, and then the answer must not tell that one of them was right.
 * @throws TOO_MANY_REQUESTS with `Retry-After`
 */
export async function assertNotThrottled(on: Queryable, attempt: Attempt): Promise<void> {
  const asked = subjectsOf(attempt);
  const waits = await findWaits.all(on, {
    subjects: asked.map(({ subject }) => subject),
    limits: asked.map(({ most }) => most),
  });
  refuse(waits);
}

/**
 * Counts a wrong password, against the account, whether there is one or not, and against the address.
 * @throws TOO_MANY_REQUESTS with `Retry-After` when the limit was reached meanwhile
 */
export async function recordFailure(on: Queryable, attempt: Attempt): Promise<void> {
  const noted: { seconds: number | null }[] = [];
  for (const subject of subjectsOf(attempt)) noted.push(await noteFailure.one(on, subject));
  refuse(noted);
}

/** Deletes failures that count no more. */
export const purgeLoginFailures = purgeWhere('login_failures', "last_failed_at < now() - interval '15 minutes'");

function subjectsOf({ email, clientAddress }: Attempt): Subject[] {
  const account = { subject: digest(`account:${email.trim().toLowerCase()}`), most: FAILURE_LIMITS.account };
  if (!clientAddress) return [account];
  return [account, { subject: digest(`address:${clientAddress}`), most: FAILURE_LIMITS.address }];
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function refuse(waits: readonly { seconds: number | null }[]): void {
  const retryAfter = Math.max(0, ...waits.map(({ seconds }) => seconds ?? 0));
  if (retryAfter > 0) throw commonProblems.TOO_MANY_REQUESTS({ retryAfter });
}
