import { isIP } from 'node:net';
import type { BaseOptions } from '@platformatic/kafka';
import type { KafkaConfig } from '../config';
import { providerOf, type TokenProvider } from '../events/kafka.client';

/** How one node reaches Kafka with what it tells others. */
export interface TransportConnection extends KafkaConfig {
  nodeId: string;
  /** Needed for OAUTHBEARER. */
  token?: TokenProvider;
}

type Connection = Omit<BaseOptions, 'bootstrapBrokers'> & { bootstrapBrokers: string[] };

/** What every client of the transporter is given. Times are milliseconds. */
export function connectionOptions({ brokers, ssl, nodeId, ...access }: TransportConnection): Connection {
  // TLS names no servers by their addresses.
  const areNamed = brokers.every(broker => isIP(broker.replace(/:\d+$/, '')) === 0);
  return {
    clientId: `hiver-${nodeId}`,
    bootstrapBrokers: [...brokers],
    connectTimeout: 1_000,
    ...(ssl && { tls: {}, tlsServerName: areNamed }),
    sasl: saslOf(access),
  };
}

/**
 * Options of Moleculer's Kafka transporter. With its defaults it goes deaf for ever after an outage of a few seconds, and
 * stays alive; with these it is back within seconds after the broker.
 */
export function transporterOptions(connection: TransportConnection) {
  const shared = connectionOptions(connection);
  return {
    clientId: shared.clientId,
    bootstrapBrokers: shared.bootstrapBrokers,
    admin: { ...shared, retries: 2, retryDelay: 200, requestTimeout: 5_000 },
    producer: {
      ...shared,
      // A caller waits: it is told soon, and tries again itself where that is safe.
      retries: 2,
      retryDelay: 100,
      timeout: 2_000,
      requestTimeout: 3_000,
      // Made with the broker's defaults they would be kept for days.
      autocreateTopics: false,
    },
    consumer: {
      ...shared,
      retries: true,
      retryDelay: 250,
      requestTimeout: 15_000,
      sessionTimeout: 10_000,
      rebalanceTimeout: 10_000,
      heartbeatInterval: 1_000,
      maxWaitTime: 500,
    },
    // What nodes tell each other is worth nothing once its sender has given up: the leader's word is enough.
    publish: { acks: 1 },
  };
}

function saslOf({ sasl, token }: Pick<TransportConnection, 'sasl' | 'token'>): Connection['sasl'] {
  if (!sasl) return undefined;
  const { mechanism, username, password } = sasl;
  if (mechanism !== 'OAUTHBEARER') return { mechanism, username, password };
  return { mechanism, token: providerOf(token) };
}
