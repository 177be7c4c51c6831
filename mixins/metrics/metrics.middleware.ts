import type { Middleware } from 'moleculer';
import { configOf } from '../config';
import { StartError } from '../embedded/start-error';
import { Metrics, setMetrics } from './metrics';
import { MetricsServer } from './server';

/** Measures, and shows it to Prometheus from before the services start until they have stopped. */
export function prometheus(port: number): Middleware {
  let server: MetricsServer | undefined;
  return {
    name: 'Prometheus',

    created(broker) {
      const metrics = new Metrics(broker);
      setMetrics(broker, metrics);
      server = new MetricsServer(metrics, error => broker.logger.error({ err: error }, 'Metrics could not be shown'));
    },

    async starting(broker) {
      try {
        const url = await server?.listen(configOf(broker).host, port);
        broker.getLogger('metrics').info({ url }, 'Metrics for Prometheus');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
        throw new StartError(
          `Port ${port} of the metrics is in use.\nStop what uses it, or choose another one with METRICS_PORT.`,
        );
      }
    },

    async stopped() {
      await server?.close();
    },
  };
}
