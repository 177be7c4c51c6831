import { createHash } from 'node:crypto';
import type { ServiceBroker } from 'moleculer';
import type * as z from 'zod';
import { statement } from '../db/statement';
import type { Connections } from '../events/connections';
import { hubOf } from '../events/hubs';
import type { Aggregates } from '../events/republish';
import { columnOf, type ReplicaTable } from './tables';

const PAGE = 500;
/** Most bytes of one page of an owner's states: it may be a message between nodes, and Kafka takes 1 MB of those. */
const PAGE_BYTES = 256 * 1024;
const MOST_IDS = 100;

interface Digest {
  count: number;
  /** SHA-256 over all of them, in the order of their ids. */
  checksum: string;
}

/** How far a replica is what its owner has. */
export interface Verification {
  isSame: boolean;
  owner: Digest;
  replica: Digest;
  /** Ids that only one of them has, or that differ; the first hundred. */
  differing: string[];
}

/** Some of an owner's states, in the order of their ids. */
export interface OwnerPage<State> {
  states: State[];
  isLast: boolean;
}

/** Reads an owner's states from behind an id. */
export type ReadOwner<State> = (after: string | undefined) => Promise<OwnerPage<State>>;

type Line = { id: string; text: string };

/**
 * Compares a replica with its owner: as many, and the same. Events that are under way make a difference: verify again
 * before you act on one.
 * @param owner reads what the owner has, from wherever it is
 * @param replica the domain that keeps the copy, and its table
 */
export async function verifyReplica<State extends { id: string; companyId: string; version: number }>(
  broker: ServiceBroker,
  owner: ReadOwner<State>,
  replica: { domain: string; table: ReplicaTable<State> },
): Promise<Verification> {
  const fields = Object.keys(replica.table.columns) as (keyof State)[];
  const theirs = new Digester(ownerLines(owner, fields));
  const ours = new Digester(replicaLines(hubOf(broker, replica.domain).connections, replica.table, fields));
  const differing: string[] = [];
  for (let [a, b] = [await theirs.next(), await ours.next()]; a || b; ) {
    const isFirst = !b || (a && a.id <= b.id);
    const isSecond = !a || (b && b.id <= a.id);
    if (a?.text !== b?.text && differing.length < MOST_IDS) differing.push((isFirst ? a?.id : b?.id) ?? '');
    if (isFirst) a = await theirs.next();
    if (isSecond) b = await ours.next();
  }
  const digests = { owner: theirs.digest(), replica: ours.digest() };
  return { isSame: digests.owner.checksum === digests.replica.checksum, ...digests, differing };
}

/**
 * A page of the states that a domain of this process owns: at most 500, and 256 kB of JSON.
 * @param after id behind which it begins; at the beginning unless told
 */
export async function readOwner<State extends { id: string }>(
  broker: ServiceBroker,
  domain: string,
  { contract, page }: Aggregates<z.ZodType<State>>,
  after: string | undefined,
): Promise<OwnerPage<State>> {
  const read = await hubOf(broker, domain).connections.inTransaction(tx => page(tx, after, PAGE, false));
  const states: State[] = [];
  for (let bytes = 0; states.length < read.length; ) {
    const state = contract.data.parse(read[states.length]);
    bytes += Buffer.byteLength(JSON.stringify(state));
    if (bytes > PAGE_BYTES && states.length > 0) break;
    states.push(state);
  }
  return { states, isLast: states.length === read.length && read.length < PAGE };
}

/** Hands on what it reads and keeps count of it. */
class Digester {
  readonly #hash = createHash('sha256');
  #count = 0;

  constructor(private readonly lines: AsyncGenerator<Line>) {}

  async next(): Promise<Line | undefined> {
    const { value, done } = await this.lines.next();
    if (done) return undefined;
    this.#hash.update(value.text).update('\n');
    this.#count++;
    return value;
  }

  digest(): Digest {
    return { count: this.#count, checksum: this.#hash.digest('hex') };
  }
}

async function* ownerLines<State extends { id: string }>(
  read: ReadOwner<State>,
  fields: readonly (keyof State)[],
): AsyncGenerator<Line> {
  for (let after: string | undefined; ; ) {
    const { states, isLast } = await read(after);
    for (const state of states) yield toLine(state, fields);
    if (isLast) return;
    after = states.at(-1)?.id;
  }
}

async function* replicaLines<State extends { id: string }>(
  connections: Connections,
  table: ReplicaTable<State & { companyId: string; version: number }>,
  fields: readonly (keyof State)[],
): AsyncGenerator<Line> {
  const columns = fields.map(field => `${columnOf(String(field))} as "${String(field)}"`);
  const selectPage = statement<{ after: string | undefined }, State>(
    `replica.verify.${table.name}`,
    `select ${columns.join(', ')} from ${table.name}
     where removed_at is null and ($after::uuid is null or id > $after) order by id limit ${PAGE}`,
  );
  for (let after: string | undefined; ; ) {
    const rows = await selectPage.all(connections, { after });
    for (const row of rows) yield toLine(row, fields);
    if (rows.length < PAGE) return;
    after = rows.at(-1)?.id;
  }
}

function toLine<State extends { id: string }>(state: State, fields: readonly (keyof State)[]): Line {
  return { id: state.id, text: JSON.stringify(fields.map(field => state[field] ?? null)) };
}
