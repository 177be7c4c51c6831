import { statement } from '../db/statement';
import type { Envelope } from '../events/event';
import type { Apply } from '../events/handler';
import { columnOf, type ReplicaTable } from './tables';

interface Aggregate {
  id: string;
  companyId: string;
  version: number;
}

/**
 * How a replica's table takes in the newest states of a chunk: one statement, guarded by the version, so that events
 * may come twice and late. Rows are written in the order of their ids, or two chunks could wait for each other.
 */
export function upsertInto<State extends Aggregate>(table: ReplicaTable<State>): Apply<State> {
  const fields = Object.entries<string>(table.columns);
  const columns = fields.map(([field]) => columnOf(field));
  const upsert = statement<{ states: string }>(
    `replica.${table.name}`,
    `insert into ${table.name} (${columns.join(', ')})
     select ${fields.map(([field]) => `"${field}"`).join(', ')}
     from jsonb_to_recordset($states::jsonb) as state(${fields.map(([field, type]) => `"${field}" ${type}`).join(', ')})
     order by id
     on conflict (id) do update set ${columns.map(column => `${column} = excluded.${column}`).join(', ')}
     where ${table.name}.version < excluded.version and ${table.name}.removed_at is null`,
  );
  return async (tx, envelopes) => {
    await upsert.all(tx, { states: JSON.stringify(statesOf(envelopes)) });
  };
}

/**
 * How a replica's table takes in that aggregates are gone: the row stays, without what was known of them, so that no
 * event that comes late brings them back.
 */
export function removeFrom<State extends Aggregate>(table: ReplicaTable<State>): Apply<Aggregate> {
  const columns = Object.keys(table.columns).map(columnOf);
  const blank = columns.filter(column => !['id', 'company_id', 'version'].includes(column));
  const remove = statement<{ states: string }>(
    `replica.remove.${table.name}`,
    `insert into ${table.name} (id, company_id, version, removed_at)
     select id, "companyId", version, now()
     from jsonb_to_recordset($states::jsonb) as state(id uuid, "companyId" uuid, version integer)
     order by id
     on conflict (id) do update set version = excluded.version, removed_at = excluded.removed_at,
       ${blank.map(column => `${column} = excluded.${column}`).join(', ')}
     where ${table.name}.version < excluded.version and ${table.name}.removed_at is null`,
  );
  return async (tx, envelopes) => {
    await remove.all(tx, { states: JSON.stringify(statesOf(envelopes)) });
  };
}

function statesOf<State extends Aggregate>(envelopes: readonly Envelope<State>[]): State[] {
  return envelopes.map(({ data }) => data);
}
