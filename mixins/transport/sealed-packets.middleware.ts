import type { Middleware, Transporters } from 'moleculer';
import type { SealKey } from '../auth/seal';
import type { Log } from '../events/kafka.client';
import { openPacket, sealPacket } from './packet-seal';

type Send = Transporters.Base['send'];
type Receive = Transporters.Base['receive'];

/** Milliseconds within which packets that do not open are counted, not logged. */
const QUIET = 10_000;

/**
 * Seals what leaves for other nodes, and opens what comes: requests over Kafka lie on its disks. What does not open is
 * dropped, and the log tells how much of it.
 * @param keys the first one seals, all of them open
 */
export function sealedPackets(keys: readonly SealKey[]): Middleware {
  const [sealing] = keys;
  if (!sealing) throw new Error('There is no key to seal packets with: TRANSPORT_KEY is missing');
  const opening = new Map(keys.map(({ id, key }) => [id, key]));
  const dropped = new Dropped();
  const middleware = {
    name: 'SealedPackets',
    created: (broker: { getLogger(name: string): Log }) => dropped.tell(broker.getLogger('transporter')),
    transporterSend(next: Send): Send {
      return (topic, data, meta) => next(topic, sealPacket(sealing, data, meta.packet.type), meta);
    },
    transporterReceive(next: Receive): Receive {
      return (kind, data, socket) => {
        let opened: Buffer;
        try {
          opened = openPacket(opening, data, kind);
        } catch (error) {
          return dropped.add(kind, error as Error);
        }
        return next(kind, opened, socket);
      };
    },
  };
  return middleware as unknown as Middleware;
}

/** Somebody with another key may send many packets a second. */
class Dropped {
  #log: Log | undefined;
  #count = 0;
  #saidAt = Number.NEGATIVE_INFINITY;

  tell(log: Log): void {
    this.#log = log;
  }

  add(kind: string, { message }: Error): void {
    this.#count++;
    const now = performance.now();
    if (now - this.#saidAt < QUIET) return;
    this.#log?.error(`${this.#count} packet(s) from other nodes do not open and are dropped; the last, ${kind}: ${message}`);
    this.#count = 0;
    this.#saidAt = now;
  }
}
