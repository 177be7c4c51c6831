import type { ServiceBroker } from 'moleculer';
import type { Carrier } from '../../mixins/events/carrier';
import { KafkaCarrier, type KafkaCarrierOptions } from '../../mixins/events/kafka.carrier';
import { TEST_BROKERS } from '../kafka/environment';

/** The Kafka carrier with topics and groups of its own for each `run`, on the brokers that the environment names. */
export function makeCarrier(broker: ServiceBroker, run: string, options: Partial<KafkaCarrierOptions> = {}): Carrier {
  const brokers = (process.env[TEST_BROKERS] ?? '').split(',');
  return new KafkaCarrier({
    connection: { brokers, ssl: false, sasl: undefined, clientId: broker.nodeID },
    prefix: `${run}.`,
    // Of processes that are killed one after the other each is missed for that long.
    sessionTimeout: 3_000,
    // As the application does: the process ends.
    onFatal: error => queueMicrotask(() => Promise.reject(error)),
    log: broker.getLogger('events'),
    ...options,
  });
}
