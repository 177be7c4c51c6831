import type { BrokerOptions, Middleware } from 'moleculer';
import type { Config } from '../config';
import type { TokenProvider } from '../events/kafka.client';
import { BackgroundConnection } from './background.middleware';
import { nodeMetadata, oneOfAName } from './node-id.middleware';
import { remoteCallOptions } from './remote-calls';
import { sealedPackets } from './sealed-packets.middleware';
import { MeshTransporter } from './transporter';

/** Milliseconds that calls under way are given when a node stops. */
const SHUTDOWN_TIMEOUT = 2_000;

/** What makes a broker a node among others; nothing for a process that is alone. */
export function meshOptions(config: Config, token?: TokenProvider): { options: BrokerOptions; middlewares: Middleware[] } {
  if (config.mode !== 'mesh' || !config.kafka) return { options: {}, middlewares: [] };
  return {
    options: {
      transporter: new MeshTransporter({ ...config.kafka, nodeId: config.nodeId, token }),
      metadata: nodeMetadata(),
      // A node that was killed is dropped after 6 to 12 s.
      heartbeatInterval: 2,
      heartbeatTimeout: 6,
      maxCallLevel: 20,
      tracking: { enabled: true, shutdownTimeout: SHUTDOWN_TIMEOUT },
      ...remoteCallOptions,
    },
    middlewares: [sealedPackets(config.transportKeys), BackgroundConnection, oneOfAName()],
  };
}
