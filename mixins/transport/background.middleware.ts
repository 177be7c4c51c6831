import type { Middleware, ServiceBroker } from 'moleculer';

/**
 * A node starts without waiting for Kafka: its own services, and with them HTTP, need nobody else. Moleculer would wait
 * before it starts any of them.
 */
export const BackgroundConnection: Middleware = {
  name: 'BackgroundConnection',

  created(broker: ServiceBroker) {
    const { transit } = broker;
    if (!transit) return;
    const connect = transit.connect.bind(transit);
    transit.connect = async () => void connect();
    // What was started meanwhile has been told to nobody.
    broker.localBus.on('$transporter.connected', () => void transit.discoverer.sendLocalNodeInfo());
  },
};
