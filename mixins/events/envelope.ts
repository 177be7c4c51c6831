import { v7 as uuidv7 } from 'uuid';
import type { CommandContext } from '../contract';
import type { Envelope, EventContract } from './event';

/** What may be said of an event beside its data. */
export interface RecordExtras {
  /** Instant of the fact, where it is not now. */
  time?: string;
  /** Request that it goes back to, where the transaction has none of its own: a reaction passes on its event's. */
  requestid?: string;
  /** W3C Trace Context. */
  traceparent?: string;
  /** The present state told once more: replicas take it, nobody reacts. */
  republished?: boolean;
}

/** What an envelope says before anything is known of the data. */
export type EnvelopeHead = Omit<Envelope, 'subject' | 'companyid' | 'version' | 'data'>;

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * Starts an envelope: CloudEvents 1.0, structured JSON.
 * @param database name of the domain that the fact is of
 * @param ctx the command that made it true
 */
export function envelopeHead(
  contract: Pick<EventContract, 'topic' | 'schemaVersion'>,
  database: string,
  ctx: CommandContext | undefined,
  extras: RecordExtras = {},
): EnvelopeHead {
  const requestid = extras.requestid ?? ctx?.requestID;
  const traceparent = extras.traceparent ?? traceparentOf(ctx?.headers);
  return {
    specversion: '1.0',
    id: uuidv7(),
    source: `/${database}`,
    type: contract.topic,
    time: extras.time ?? new Date().toISOString(),
    datacontenttype: 'application/json',
    dataschema: `urn:hiver:${contract.topic}:${contract.schemaVersion}`,
    ...(requestid && { requestid }),
    ...(traceparent && { traceparent }),
    ...(extras.republished && { republished: true }),
  };
}

function traceparentOf(headers: unknown): string | undefined {
  const { traceparent } = (headers ?? {}) as { traceparent?: unknown };
  return typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : undefined;
}
