import { v7 as uuidv7 } from 'uuid';
import { migration } from '../db/migrations';
import { purgeWhere } from '../db/purge-rule';
import { type Queryable, statement } from '../db/statement';
import { describeError } from '../events/failures';

/** What operators did and looked at. Nobody in a company is behind it, so it is apart from `audit_entries`. */
export const operatorLogMigration = migration(
  'operator-log',
  `create table operator_log (
    id uuid primary key,
    at timestamptz(3) not null default now(),
    operator text not null,
    command text not null,
    arguments jsonb not null,
    -- 'STARTED' for ever: the process ended before the command did.
    outcome text not null default 'STARTED' check (outcome in ('STARTED', 'DONE', 'FAILED')),
    error text,
    ended_at timestamptz(3)
  );
  create index operator_log_at_idx on operator_log (at);`,
);

export const purgeOperatorLog = purgeWhere('operator_log', "at < now() - interval '90 days'");

const insertEntry = statement<{ id: string; operator: string; command: string; args: string }>(
  'operatorLog.insert',
  `insert into operator_log (id, operator, command, arguments) values ($id, $operator, $command, $args::jsonb)`,
);

const endEntry = statement<{ id: string; outcome: 'DONE' | 'FAILED'; error: string | undefined }>(
  'operatorLog.end',
  'update operator_log set outcome = $outcome, error = $error, ended_at = now() where id = $id',
);

/** Who does what. */
export interface OperatorCommand {
  operator: string;
  /** Name of the action. */
  command: string;
  /** Without personal data: these rows outlive a person's erasure. */
  arguments?: object;
}

/** Does what an operator asks, and leaves a row that says who asked for what and how it ended; it is there before. */
export async function logged<T>(
  db: Queryable,
  { operator, command, arguments: args = {} }: OperatorCommand,
  work: () => Promise<T>,
): Promise<T> {
  const id = uuidv7();
  await insertEntry.all(db, { id, operator, command, args: JSON.stringify(args) });
  try {
    const result = await work();
    await endEntry.all(db, { id, outcome: 'DONE', error: undefined });
    return result;
  } catch (error) {
    // What went wrong is more to the point than that it could not be written down.
    await endEntry.all(db, { id, outcome: 'FAILED', error: describeError(error) }).catch(() => undefined);
    throw error;
  }
}
