import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { KafkaConfig } from '../../mixins/config';
import type { KafkaProcess } from './broker';

const usual = getCACertificates('default');

/** Has this process trust these certificates too, and no others that it was told of before. */
export function trust(...certificates: string[]): void {
  setDefaultCACertificates([...usual, ...certificates]);
}

/** How a client may differ from one that is let in. */
export interface Changes {
  sasl?: Partial<NonNullable<KafkaConfig['sasl']>>;
  ssl?: boolean;
  host?: string;
}

/** What a client needs that says who it is over TLS, or what it has instead. */
export function securedConfig({ secured }: KafkaProcess, { sasl, ssl = true, host = '127.0.0.1' }: Changes = {}): KafkaConfig {
  if (!secured) throw new Error('This Kafka was started without TLS');
  const { brokers, username, password } = secured;
  return {
    brokers: [brokers.replace('127.0.0.1', host)],
    ssl,
    sasl: { mechanism: 'SCRAM-SHA-512', username, password, ...sasl },
  };
}
