import { v7 as uuidv7 } from 'uuid';
import type * as z from 'zod';
import { batch } from '../db/batch';
import type { Transaction } from '../db/transaction';
import { commonProblems } from '../errors';
import { envelopeHead, type RecordExtras } from './envelope';
import { type Envelope, type EventContract, MAX_EVENT_BYTES } from './event';
import { wakeRelay } from './wake';

interface OutboxRow {
  id: string;
  topic: string;
  key: string;
  companyId: string;
  version: number;
  compacted: boolean;
  /** JSON; null is a tombstone. */
  envelope: string | null;
}

const outboxRows = batch<OutboxRow>(
  'events.record',
  `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
   select id, topic, key, "companyId", version, compacted, envelope
   from rows from (jsonb_to_recordset($rows::jsonb)
     as (id uuid, topic text, key text, "companyId" uuid, version int, compacted boolean, envelope text)
   ) with ordinality as recorded(id, topic, key, "companyId", version, compacted, envelope, place)
   order by place`,
);

/**
 * Records a fact in the transaction that makes it true; it leaves after the commit, or never. Its row is written at the
 * transaction's end, when all that it changes is locked: that makes the order of events the order of the changes.
 * @throws EVENT_TOO_LARGE over 256 kB; an error when the data breaks the topic's contract
 */
export async function record<D extends z.ZodType>(
  tx: Transaction,
  contract: EventContract<D>,
  data: z.input<D>,
  extras?: RecordExtras,
): Promise<void> {
  await recordAll(tx, contract, [data], extras);
}

/** Records many facts of one topic, in this order. */
export async function recordAll<D extends z.ZodType>(
  tx: Transaction,
  contract: EventContract<D>,
  datas: readonly z.input<D>[],
  extras?: RecordExtras,
): Promise<void> {
  if (datas.length === 0) return;
  write(
    tx,
    datas.map(data => outboxRow(tx, contract, data, extras)),
  );
}

/**
 * Records that whatever a topic keeps under a key is to be forgotten: handlers do not see it, compaction does. Belongs
 * in the transaction that erases the data.
 */
export async function recordTombstone(
  tx: Transaction,
  contract: EventContract,
  { key, companyId }: { key: string; companyId: string },
): Promise<void> {
  const { topic } = contract;
  write(tx, [{ id: uuidv7(), topic, key, companyId, version: 0, compacted: true, envelope: null }]);
}

function write(tx: Transaction, rows: readonly OutboxRow[]): void {
  tx.writeAtEnd(outboxRows, rows);
  tx.afterCommit(() => wakeRelay(tx));
}

function outboxRow<D extends z.ZodType>(
  tx: Transaction,
  contract: EventContract<D>,
  input: z.input<D>,
  extras?: RecordExtras,
): OutboxRow {
  const data = contract.data.parse(input);
  const head = envelopeHead(contract, tx.database, tx.ctx, extras);
  const companyid = contract.companyOf(data);
  const version = contract.versionOf(data);
  const envelope: Envelope = { ...head, subject: contract.subjectOf(data), companyid, version, data };
  const text = JSON.stringify(envelope);
  if (Buffer.byteLength(text) > MAX_EVENT_BYTES) throw commonProblems.EVENT_TOO_LARGE();
  return {
    id: head.id,
    topic: contract.topic,
    key: contract.keyOf(data),
    companyId: companyid,
    version,
    compacted: contract.kind === 'state',
    envelope: text,
  };
}
