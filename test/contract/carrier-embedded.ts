import type { ServiceBroker } from 'moleculer';
import { EmbeddedCarrier } from '../../mixins/events/embedded.carrier';

export function makeCarrier(broker: ServiceBroker): EmbeddedCarrier {
  return new EmbeddedCarrier(broker.getLogger('events'));
}
