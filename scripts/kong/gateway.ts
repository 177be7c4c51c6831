import { createPublicKey, type JsonWebKey } from 'node:crypto';
import type { KongConfig } from './config';

/** These go to the users node itself in every mode: nobody's password is to pass through Kafka. */
const STRAIGHT_TO_USERS = new Set(['auth']);

/** The same front door for gateway mode: all but signing in goes to nodes that run only the API. */
export function toGateway(config: KongConfig): KongConfig {
  const [users] = config.upstreams.filter(({ name }) => name === 'users');
  if (!users) throw new Error('There is no upstream named users');
  return {
    ...config,
    upstreams: [{ ...users, name: 'api', targets: [{ target: 'api:3000' }] }, users],
    services: config.services.map(service => (STRAIGHT_TO_USERS.has(service.name) ? service : { ...service, host: 'api' })),
  };
}

/** Lets in the pages of these origins instead of those of the file. */
export function withOrigins(config: KongConfig, origins: readonly string[]): KongConfig {
  const plugins = config.plugins.map(plugin =>
    plugin.name === 'cors' ? { ...plugin, config: { ...plugin.config, origins } } : plugin,
  );
  return { ...config, plugins };
}

/** Adds the overlay that verifies tokens at the gateway, with the keys of a JWKS. */
export function withJwt(config: KongConfig, overlay: Pick<KongConfig, 'plugins'>, jwks: { keys: JsonWebKey[] }): KongConfig {
  const secrets = jwks.keys.map(key => ({
    key: String(key.kid),
    algorithm: 'ES256',
    rsa_public_key: createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' }).toString(),
  }));
  if (secrets.length === 0) throw new Error('The JWKS has no keys');
  return {
    ...config,
    consumers: [{ username: 'signed-in', jwt_secrets: secrets }],
    plugins: [...config.plugins, ...overlay.plugins],
  };
}
