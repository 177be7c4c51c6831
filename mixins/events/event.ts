import * as z from 'zod';
import { type Guard, guard } from '../contract';

/** What every state event says of its aggregate; the rest is the aggregate's own. */
interface Aggregate {
  id: string;
  companyId: string;
  version: number;
}

/**
 * `state`: carries the whole public state of an aggregate; kept compacted, so that a new reader finds every aggregate.
 * `fact`: something that happened; kept for days.
 */
export type EventKind = 'state' | 'fact';

/** The promise of a topic: who publishes it declares it in a contract file; who follows it imports that. */
export interface EventContract<D extends z.ZodType = z.ZodType> {
  readonly topic: string;
  readonly kind: EventKind;
  /** Schema version, as `dataschema` says it: `urn:hiver:<topic>:<n>`. */
  readonly schemaVersion: number;
  readonly data: D;
  /** Check of an envelope on arrival, for Moleculer's `events` section. Read loosely: unknown fields are dropped. */
  readonly params: Guard;
  /** Order holds among events of one key: the aggregate's id, or the person's. */
  keyOf(data: z.output<D>): string;
  subjectOf(data: z.output<D>): string;
  companyOf(data: z.output<D>): string;
  versionOf(data: z.output<D>): number;
}

/** Largest event, in bytes of its envelope: one that no carrier takes would block the log behind it. */
export const MAX_EVENT_BYTES = 256 * 1024;

/** What a handler gets: CloudEvents 1.0 with our extensions, structured JSON. */
export interface Envelope<Data = unknown> {
  specversion: '1.0';
  /** UUIDv7; identity only, never order. */
  id: string;
  source: string;
  type: string;
  subject: string;
  time: string;
  datacontenttype: 'application/json';
  dataschema: string;
  companyid: string;
  /** The aggregate's version. */
  version: number;
  /** W3C Trace Context. */
  traceparent?: string;
  requestid?: string;
  /** The present state told once more, for replicas: nobody reacts to it. */
  republished?: boolean;
  data: Data;
}

const kinds = new Map<string, EventKind>();

/** The topics of all contracts that are loaded, for carriers that have to make them. */
export function declaredTopics(): ReadonlyMap<string, EventKind> {
  return kinds;
}

export type DataOf<E> = E extends EventContract<infer D> ? z.output<D> : never;

/** Where an event that is not an aggregate's state has what every event needs. */
interface Keys<Data> {
  key: (data: Data) => string;
  company: (data: Data) => string;
  /** The aggregate's version, or 0. */
  version: (data: Data) => number;
  subject?: (data: Data) => string;
}

/** Data with an `id`, `companyId` and `version` of its own need not say where they are. */
type KeysOf<Data> = Data extends Aggregate ? Partial<Keys<Data>> : Keys<Data>;

/**
 * Declares a topic. A state event's `data` holds `id`, `companyId` and `version` of its aggregate; other events say
 * where to find key, company and version.
 * @param topic `users.create`: the event's name is the topic
 */
export function event<D extends z.ZodType>(
  topic: string,
  declared: { kind: EventKind; data: D; schemaVersion?: number } & KeysOf<z.output<D>>,
): EventContract<D> {
  const aggregate = (data: z.output<D>) => data as Aggregate;
  const options = declared as { kind: EventKind; data: D; schemaVersion?: number } & Partial<Keys<z.output<D>>>;
  kinds.set(topic, options.kind);
  const keyOf = options.key ?? (data => aggregate(data).id);
  return {
    topic,
    kind: options.kind,
    schemaVersion: options.schemaVersion ?? 1,
    data: options.data,
    params: guard(z.looseObject({ id: z.string(), type: z.literal(topic), subject: z.string(), data: options.data })),
    keyOf,
    subjectOf: options.subject ?? keyOf,
    companyOf: options.company ?? (data => aggregate(data).companyId),
    versionOf: options.version ?? (data => aggregate(data).version),
  };
}
