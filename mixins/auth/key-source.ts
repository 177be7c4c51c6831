import type { ServiceBroker } from 'moleculer';
import { configOf } from '../config';
import { type KeySource, keysOf } from './keys';
import { RemoteKeys } from './remote-keys';

// On the broker, not in this module: a hot reload makes the module anew while services of the old one still run.
const SOURCE = Symbol.for('hiver.key-source');
type Source = KeySource & { close(): void };
type Holder = ServiceBroker & { [SOURCE]?: Source };

/**
 * The keys that this broker verifies tokens with: its own where it signs, otherwise the public ones of JWKS_URL.
 * @throws when the configuration names neither
 */
export function keySourceOf(broker: ServiceBroker): KeySource {
  const holder = broker as Holder;
  holder[SOURCE] ??= openSource(broker);
  return holder[SOURCE];
}

function openSource(broker: ServiceBroker): Source {
  const { mode, jwt } = configOf(broker);
  if (mode === 'embedded' || jwt.privateKeys) return keysOf(broker);
  if (!jwt.jwksUrl) throw new Error('JWKS_URL is missing');
  return new RemoteKeys({ url: jwt.jwksUrl, log: broker.getLogger('keys') });
}

/** Stops looking for new keys. */
export function closeKeys(broker: ServiceBroker): void {
  (broker as Holder)[SOURCE]?.close();
}
