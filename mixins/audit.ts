import { isDeepStrictEqual } from 'node:util';
import { v7 as uuidv7 } from 'uuid';
import { batch } from './db/batch';
import { migration } from './db/migrations';

import type { Transaction } from './db/transaction';

/** What a command did to one thing. */
export interface AuditEntry {
  /** Name of the action, such as `users.update`. */
  action: string;
  /** What kind of thing it is: `user`, `team` … */
  subjectType: string;
  subjectId: string;
  /** Its state before; null when it was made. */
  before?: object | null;
  /** Its state afterwards; null when it was removed. */
  after?: object | null;
  /** Who did it, where no access token says so. Without a person: the system itself. */
  by?: { companyId: string; userId?: string };
}

/** Who changed what, for the company to look into. */
export const auditMigration = migration(
  'audit-entries',
  `create table audit_entries (
    company_id uuid not null,
    id uuid not null,
    at timestamptz(3) not null default now(),
    user_id uuid,
    action text not null,
    subject_type text not null,
    subject_id uuid not null,
    before jsonb,
    after jsonb,
    request_id text,
    primary key (company_id, id)
  );
  create index audit_entries_subject_idx on audit_entries (company_id, subject_id, id);`,
);

const auditEntries = batch<ReturnType<typeof toRow>>(
  'audit.insert',
  `insert into audit_entries (company_id, id, user_id, action, subject_type, subject_id, before, after, request_id)
  select "companyId", id, "userId", action, "subjectType", "subjectId", before, after, "requestId"
  from jsonb_to_recordset($rows::jsonb) as entry (
    "companyId" uuid, id uuid, "userId" uuid, action text, "subjectType" text, "subjectId" uuid,
    before jsonb, after jsonb, "requestId" text
  )`,
);

/**
 * Leaves a row that says who changed what, in the transaction of the change. Of a thing that was changed only the
 * fields that differ are kept; secrets never are. Nothing is written when nothing differs.
 */
export function audit(tx: Transaction, entry: AuditEntry): Promise<void> {
  return auditAll(tx, [entry]);
}

/** `audit` for many things that one command changed. */
export async function auditAll(tx: Transaction, entries: readonly AuditEntry[]): Promise<void> {
  const rows = entries.map(entry => toRow(tx, entry)).filter(({ before, after }) => before !== null || after !== null);
  tx.writeAtEnd(auditEntries, rows);
}

function toRow(tx: Transaction, { before, after, by, ...entry }: AuditEntry) {
  const user = tx.ctx?.meta.user;
  const companyId = by?.companyId ?? user?.companyId;
  if (!companyId) throw new Error(`${entry.action} does not say in whose company it was: give its audit entry a 'by'`);
  return {
    ...entry,
    id: uuidv7(),
    companyId,
    userId: by ? by.userId : user?.id,
    requestId: tx.ctx?.requestID,
    before: fieldsThatDiffer(before, after),
    after: fieldsThatDiffer(after, before),
  };
}

const SECRET = /password|token|secret|hash|sealed/i;

/** Fields of `one` that `other` has not, or has otherwise; null where there are none. */
function fieldsThatDiffer(one: object | null | undefined, other: object | null | undefined): Record<string, unknown> | null {
  if (!one) return null;
  const others = plain(other ?? {});
  const fields = Object.entries(plain(one)).filter(([key, value]) => !isDeepStrictEqual(value, others[key]));
  return fields.length > 0 ? Object.fromEntries(fields) : null;
}

/** As JSON has it, without secrets at any depth. */
function plain(state: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(state, (key, value) => (SECRET.test(key) ? undefined : value)));
}
