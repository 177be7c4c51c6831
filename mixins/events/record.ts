import { v7 as uuidv7 } from 'uuid';
import type * as z from 'zod';
import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import { commonProblems } from '../errors';
import { envelopeHead, type RecordExtras } from './envelope';
import { type Envelope, type EventContract, MAX_EVENT_BYTES } from './event';
import { wakeRelay } from './wake';

interface OutboxInsert {
  id: string;
  topic: string;
  key: string;
  companyId: string;
  version: number;
  compacted: boolean;
  /** JSON; null is a tombstone. */
  envelope: string | null;
}

const insertOne = statement<OutboxInsert>(
  'events.record',
  `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
   values ($id, $topic, $key, $companyId, $version, $compacted, $envelope)`,
);

const insertMany = statement<{
  topic: string;
  compacted: boolean;
  ids: string[];
  keys: string[];
  companyIds: string[];
  versions: number[];
  envelopes: string[];
}>(
  'events.recordAll',
  `insert into outbox (id, topic, key, company_id, version, compacted, envelope)
   select id, $topic, key, company_id, version, $compacted, envelope
   from unnest($ids::uuid[], $keys::text[], $companyIds::uuid[], $versions::int[], $envelopes::text[])
     with ordinality as recorded(id, key, company_id, version, envelope, place)
   order by place`,
);

/**
 * Records a fact in the transaction that makes it true; it leaves after the commit, or never. Comes after the change:
 * its place in the order is drawn here, and only the lock on the aggregate's row makes that the order of the changes.
 * @throws EVENT_TOO_LARGE over 256 kB; an error when the data breaks the topic's contract
 */
export async function record<D extends z.ZodType>(
  tx: Transaction,
  contract: EventContract<D>,
  data: z.input<D>,
  extras?: RecordExtras,
): Promise<void> {
  await insertOne.all(tx, outboxRow(tx, contract, data, extras));
  tx.afterCommit(() => wakeRelay(tx));
}

/** Records many facts of one topic, in this order and in one statement. */
export async function recordAll<D extends z.ZodType>(
  tx: Transaction,
  contract: EventContract<D>,
  datas: readonly z.input<D>[],
  extras?: RecordExtras,
): Promise<void> {
  if (datas.length === 0) return;
  const rows = datas.map(data => outboxRow(tx, contract, data, extras));
  await insertMany.all(tx, {
    topic: contract.topic,
    compacted: contract.kind === 'state',
    ids: rows.map(row => row.id),
    keys: rows.map(row => row.key),
    companyIds: rows.map(row => row.companyId),
    versions: rows.map(row => row.version),
    envelopes: rows.map(row => row.envelope),
  });
  tx.afterCommit(() => wakeRelay(tx));
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
  await insertOne.all(tx, { id: uuidv7(), topic, key, companyId, version: 0, compacted: true, envelope: null });
  tx.afterCommit(() => wakeRelay(tx));
}

function outboxRow<D extends z.ZodType>(tx: Transaction, contract: EventContract<D>, input: z.input<D>, extras?: RecordExtras) {
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
