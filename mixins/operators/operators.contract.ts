import * as z from 'zod';
import type { Domain } from '../config';
import { contract } from '../contract';
import type { Counters } from '../events/consumer';
import { Id, Instant, line } from '../fields';

/** Who asks: the person at the keyboard and their machine, `camille@laptop`. It stands in the operators' log. */
export const Operator = line(200).meta({ examples: ['camille@laptop'] });

/** Milliseconds that a command may take which goes through all that a domain has. */
export const LONG = 30 * 60_000;

const Count = z.int().min(0);
const EventId = line(200);

const COUNTERS: Record<keyof Counters, typeof Count> = {
  handled: Count,
  tombstones: Count,
  tooOld: Count,
  republished: Count,
  repeated: Count,
  parked: Count,
  dead: Count,
};

export const DomainStatus = z.object({
  domain: z.string(),
  /** Node that answered; what is said of this process is said of it. */
  node: z.string(),
  carrier: z.string(),
  isLeader: z.boolean(),
  lease: z.object({ node: z.string().nullable(), epoch: z.int(), expiresAt: z.string().nullable() }),
  unpublished: Count,
  oldestUnpublishedAge: z.number(),
  refused: Count,
  topics: z.array(z.string()),
  isConsuming: z.boolean(),
  waitsFor: z.array(z.string()),
  lag: z.array(z.object({ place: z.string(), position: Count, end: Count, lag: Count })).nullable(),
  lagError: z.string().nullable(),
  deadLetters: Count,
  parked: Count,
  counters: z.object(COUNTERS),
});
export type DomainStatus = z.infer<typeof DomainStatus>;

export const GivenUp = z.object({
  /** Events that a handler of the domain failed on, time and again; the oldest ones. */
  deadLetters: z.array(
    z.object({
      eventId: z.string(),
      service: z.string(),
      kind: z.enum(['replica', 'reaction']),
      topic: z.string(),
      key: z.string(),
      error: z.string(),
      tries: Count,
      failedAt: Instant,
    }),
  ),
  /** Events of the domain's own that the carrier refused; the oldest ones. */
  refused: z.array(z.object({ eventId: z.string(), topic: z.string(), key: z.string(), error: z.string(), refusedAt: Instant })),
  /** How many there are of each, listed or not. */
  totals: z.object({ deadLetters: Count, refused: Count }),
});
export type GivenUp = z.infer<typeof GivenUp>;

export const Retried = z.object({
  /** Dead letters that went well. */
  done: Count,
  /** Dead letters that are dead letters still. */
  dead: Count,
  /** Refused events that wait in the outbox again. */
  restored: Count,
  /** Ids that are neither. */
  unknown: z.array(z.string()),
});
export type Retried = z.infer<typeof Retried>;

const Digest = z.object({ count: Count, checksum: z.string() });
export const Verified = z.object({
  isSame: z.boolean(),
  copies: z.array(
    z.object({
      name: z.string(),
      ownedBy: z.string(),
      isSame: z.boolean(),
      owner: Digest,
      replica: Digest,
      differing: z.array(z.string()),
    }),
  ),
});
export type Verified = z.infer<typeof Verified>;

const Republished = z.object({ recorded: z.array(z.object({ name: z.string(), count: Count })) });

/** What a domain does for operators; internal, so it is called through the REPL or another service, never over HTTP. */
export function operatorContracts(domain: Domain) {
  const name = (action: string) => `${domain}.events.${action}`;
  const asked = { operator: Operator };
  return {
    status: contract(name('status'), { params: z.strictObject(asked), returns: DomainStatus }),
    dead: contract(name('dead'), {
      params: z.strictObject({ ...asked, limit: z.int().min(1).max(500).default(100) }),
      returns: GivenUp,
    }),
    retry: contract(name('retry'), {
      params: z.strictObject({ ...asked, ids: z.array(EventId).min(1).max(500).optional() }),
      returns: Retried,
    }),
    replay: contract(name('replay'), { params: z.strictObject(asked), returns: z.object({ read: Count, failed: Count }) }),
    republish: contract(name('republish'), {
      params: z.strictObject({ ...asked, raise: z.boolean().default(false) }),
      returns: Republished,
    }),
    verify: contract(name('verify'), { params: z.strictObject(asked), returns: Verified }),
    /** The owner's states, for `verify` of whoever keeps a copy. */
    page: contract(name('page'), {
      params: z.strictObject({ ...asked, of: line(64), after: Id.optional() }),
      returns: z.object({ states: z.array(z.record(z.string(), z.unknown())), isLast: z.boolean() }),
    }),
  };
}
