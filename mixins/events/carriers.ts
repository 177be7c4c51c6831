import type { ServiceBroker } from 'moleculer';
import { configOf } from '../config';
import type { Carrier } from './carrier';
import { EmbeddedCarrier } from './embedded.carrier';
import { KafkaCarrier } from './kafka.carrier';
import type { TokenProvider } from './kafka.client';

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const CARRIER = Symbol.for('hiver.events.carrier');
const KAFKA_TOKENS = Symbol.for('hiver.events.kafka-tokens');
type Holder = ServiceBroker & {
  [CARRIER]?: { carrier: Carrier; users: number; started?: Promise<void> };
  [KAFKA_TOKENS]?: TokenProvider;
};

/** Gives a broker its carrier, before its services are made; without, the configuration says which one it is. */
export function useCarrier(broker: ServiceBroker, carrier: Carrier): void {
  (broker as Holder)[CARRIER] = { carrier, users: 0 };
}

/** Gives a broker what makes tokens for Kafka, where KAFKA_SASL_MECHANISM is OAUTHBEARER. */
export function useKafkaTokens(broker: ServiceBroker, provider: TokenProvider): void {
  (broker as Holder)[KAFKA_TOKENS] = provider;
}

/** The broker's carrier, started at its first use; `closeCarrier` it when done. */
export function openCarrier(broker: ServiceBroker): { carrier: Carrier; started: Promise<void> } {
  const holder = broker as Holder;
  holder[CARRIER] ??= { carrier: makeCarrier(holder), users: 0 };
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

function makeCarrier(broker: Holder): Carrier {
  const log = broker.getLogger('events');
  const { kafka } = configOf(broker);
  if (!kafka) return new EmbeddedCarrier(log);
  const connection = { ...kafka, clientId: `hiver-${broker.nodeID}`, token: broker[KAFKA_TOKENS] };
  // Its supervisor starts the process again; until then nothing looks healthy that is deaf.
  const onFatal = (error: Error) => broker.fatal(`Events end: ${error.message}`, error, true);
  return new KafkaCarrier({ connection, onFatal, log });
}
