import type { BrokerOptions, Middleware, ServiceBroker } from 'moleculer';
import * as moleculer from 'moleculer';

// They are there, and its types do not say so.
const { Middlewares } = moleculer as unknown as {
  Middlewares: Record<'Retry' | 'CircuitBreaker', (broker: ServiceBroker) => Middleware>;
};

interface Failure {
  code?: unknown;
  type?: unknown;
}

/** The call did not reach a service, or the node was gone before it answered. */
const UNREACHED: ReadonlySet<unknown> = new Set([
  'REQUEST_REJECTED',
  'BROKER_DISCONNECTED',
  'SERVICE_NOT_FOUND',
  'SERVICE_NOT_AVAILABLE',
]);

/** The node does not answer, or fails at what it should be able to do. What it refuses on purpose is no failure of it. */
function isNodeFailure({ code, type }: Failure): boolean {
  if (type === 'REQUEST_TIMEOUT' || type === 'REQUEST_REJECTED') return true;
  return code === 500 || typeof code !== 'number';
}

/**
 * How calls to other nodes fail. Retries are off, unless an action says that repeating it does no harm (`action()` in
 * mixins/contract.ts), and then only for calls that were not answered; a time-out has used the caller's time already.
 */
export const remoteCallOptions: Pick<BrokerOptions, 'retryPolicy' | 'circuitBreaker'> = {
  retryPolicy: {
    enabled: false,
    retries: 3,
    delay: 50,
    maxDelay: 500,
    factor: 2,
    check: error => UNREACHED.has((error as Failure).type),
  },
  circuitBreaker: {
    enabled: true,
    threshold: 0.5,
    windowTime: 30,
    minRequestCount: 20,
    halfOpenTime: 5_000,
    check: error => isNodeFailure(error as Failure),
  },
};

/** Moleculer's retries, for calls to other nodes only: within one process nothing gets lost. */
export const remoteRetry = initiated(broker => ({ ...Middlewares.Retry(broker), localAction: undefined }));

/** Moleculer's circuit breaker, for calls to other nodes only: a service's own failures are told as they are. */
export const remoteCircuitBreaker = initiated(broker => {
  const breaker = Middlewares.CircuitBreaker(broker);
  return {
    ...breaker,
    localAction: undefined,
    created(created) {
      breaker.created?.(created);
      // Of a node that comes back the endpoints are other objects, which the old states would not open.
      broker.localBus.on('$node.disconnected', ({ node }: { node: { id: string } }) => forget(created, node.id));
    },
  };
});

/** Moleculer takes functions that make a middleware, and its types do not say so. */
function initiated(make: (broker: ServiceBroker) => Middleware): Middleware {
  return make as unknown as Middleware;
}

interface BreakerState {
  cbTimer: NodeJS.Timeout | null;
}

function forget(broker: ServiceBroker, nodeId: string): void {
  const { CircuitBreakerStore: states } = broker as ServiceBroker & { CircuitBreakerStore?: Map<string, BreakerState> };
  for (const [endpoint, { cbTimer }] of states ?? []) {
    if (!endpoint.startsWith(`${nodeId}:`)) continue;
    if (cbTimer) clearTimeout(cbTimer);
    states?.delete(endpoint);
  }
}
