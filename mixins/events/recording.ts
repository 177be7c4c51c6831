import * as z from 'zod';
import type { CommandContext } from '../contract';
import type { Database } from '../db/database';
import { statement } from '../db/statement';
import type { Transaction } from '../db/transaction';
import { envelopeHead } from './envelope';
import type { DataOf, EventContract } from './event';
import { wakeRelay } from './wake';

/** A statement that changes rows and records an event of each. */
export interface RecordingStatement<Params extends object, Row> {
  /** Every row that was changed. */
  all(on: Database | Transaction, ctx: CommandContext | undefined, params: Params): Promise<Row[]>;
  /** The row that was changed, or `undefined` when there was none, and no event. */
  maybe(on: Database | Transaction, ctx: CommandContext | undefined, params: Params): Promise<Row | undefined>;
  /** The row of a statement that always changes one. */
  one(on: Database | Transaction, ctx: CommandContext | undefined, params: Params): Promise<Row>;
}

/**
 * The fast way to change a row and record the fact: both in one statement, hence in one round trip and all or nothing.
 *
 * ```ts
 * const insertTask = recording<NewTask, typeof TaskState>(taskCreated, 'tasks.insert',
 *   `insert into tasks (id, company_id, title) values ($id, $companyId, $title)
 *    returning id, company_id as "companyId", title, created_at as "createdAt", version`);
 * const task = await insertTask.one(this.db, ctx, { id, companyId, title }); // written, recorded, on its way
 * ```
 * @param sql an insert or update whose `returning` gives every field of the event's data under its name; instants as
 *   timestamptz. What else it returns goes to the caller only.
 * @throws EVENT_TOO_LARGE over 256 kB
 */
export function recording<Params extends object, D extends z.ZodObject, Row extends object = DataOf<EventContract<D>>>(
  contract: EventContract<D>,
  name: string,
  sql: string,
): RecordingStatement<Params, Row> {
  const recorded = statement<Params & { eventHead: string }, Row>(name, withOutbox(contract, sql));
  const run = async (on: Database | Transaction, ctx: CommandContext | undefined, params: Params) => {
    const { id: _, ...head } = envelopeHead(contract, 'database' in on ? on.database : on.name, ctx);
    const rows = await recorded.all(on, { ...params, eventHead: JSON.stringify(head) });
    if ('afterCommit' in on) on.afterCommit(() => wakeRelay(on));
    else wakeRelay(on);
    return rows;
  };
  return {
    all: run,
    maybe: async (on, ctx, params) => (await run(on, ctx, params))[0],
    async one(on, ctx, params) {
      const [row] = await run(on, ctx, params);
      if (row === undefined) throw new Error(`${name} changed no row where it always changes one`);
      return row;
    },
  };
}

function withOutbox<D extends z.ZodObject>(contract: EventContract<D>, sql: string): string {
  const column = (of: (data: never) => unknown) => toColumn(contract, of as (data: unknown) => unknown);
  const subject = column(contract.subjectOf);
  const companyId = column(contract.companyOf);
  const version = column(contract.versionOf);
  const data = Object.entries(contract.data.shape).map(([field, schema]) => `'${field}', ${toJsonValue(field, schema)}`);
  // The envelope is put together as text: its head comes as JSON, without the brace that closes it.
  const envelope = [
    `left($eventHead::text, -1)`,
    `',"id":' || to_json(event_id)`,
    `',"subject":' || to_json(${subject}::text)`,
    `',"companyid":' || to_json(${companyId}::text)`,
    `',"version":' || ${version}`,
    `',"data":' || json_build_object(${data.join(', ')})`,
    `'}'`,
  ];
  return `with changed as (${sql}),
    recorded as (
      insert into outbox (id, topic, key, company_id, version, compacted, envelope)
      select event_id, '${contract.topic}', ${column(contract.keyOf)}::text, ${companyId}, ${version}, ${contract.kind === 'state'},
        ${envelope.join(' || ')}
      from (select uuidv7() as event_id, * from changed) as changed
    )
    select * from changed`;
}

/** Asks the contract which field of the data it means; what is no field is a constant. */
function toColumn(contract: EventContract<z.ZodObject>, of: (data: unknown) => unknown): string {
  const meant = of(new Proxy({}, { get: (_, field) => field }));
  if (typeof meant === 'number') return String(meant);
  if (typeof meant === 'string' && meant in contract.data.shape) return `changed."${meant}"`;
  throw new Error(`${contract.topic} computes its key from several fields: record it with record()`);
}

/** JSON of PostgreSQL is ours but for instants, which it writes with an offset and without milliseconds. */
function toJsonValue(field: string, schema: z.core.$ZodType): string {
  if (!isInstant(schema)) return `changed."${field}"`;
  return `to_char(changed."${field}" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}

function isInstant(schema: z.core.$ZodType): boolean {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return isInstant(schema.unwrap());
  return schema instanceof z.ZodISODateTime;
}
