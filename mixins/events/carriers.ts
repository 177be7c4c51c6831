import type { ServiceBroker } from 'moleculer';
import type { Carrier } from './carrier';
import { EmbeddedCarrier } from './embedded.carrier';

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const CARRIER = Symbol.for('hiver.events.carrier');
type Holder = ServiceBroker & { [CARRIER]?: { carrier: Carrier; users: number; started?: Promise<void> } };

/** Gives a broker its carrier, before its services are made; without, events are carried in the process. */
export function useCarrier(broker: ServiceBroker, carrier: Carrier): void {
  (broker as Holder)[CARRIER] = { carrier, users: 0 };
}

/** The broker's carrier, started at its first use; `closeCarrier` it when done. */
export function openCarrier(broker: ServiceBroker): { carrier: Carrier; started: Promise<void> } {
  const holder = broker as Holder;
  holder[CARRIER] ??= { carrier: new EmbeddedCarrier(broker.getLogger('events')), users: 0 };
  const held = holder[CARRIER];
  held.users++;
  held.started ??= held.carrier.start();
  return { carrier: held.carrier, started: held.started };
}

/** Gives the carrier back; the last user stops it. */
export async function closeCarrier(broker: ServiceBroker): Promise<void> {
  const holder = broker as Holder;
  const held = holder[CARRIER];
  if (!held || --held.users > 0) return;
  delete holder[CARRIER];
  await held.started?.catch(() => undefined);
  await held.carrier.stop();
}
