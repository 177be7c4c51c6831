import type { Middleware } from 'moleculer';

/**
 * Stops the API before anything else. Moleculer stops services side by side, and a request under way would find the
 * others gone.
 */
export const ApiFirst: Middleware = {
  name: 'ApiFirst',

  async stopping(broker) {
    const api = broker.getLocalService('api');
    if (api) await broker.destroyService(api);
  },
};
