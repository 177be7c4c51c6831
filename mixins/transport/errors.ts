import { Errors } from 'moleculer';

export interface DriverError extends Error {
  /** Kafka's name of the error. */
  apiId?: string;
  errors?: unknown[];
}

/** The errors that another one collects: the driver keeps those of all its tries and of all brokers. */
export function leavesOf(error: unknown): DriverError[] {
  const { errors, cause } = error as DriverError;
  if (errors?.length) return errors.flatMap(leavesOf);
  return [cause instanceof Error ? (cause as DriverError) : (error as DriverError)];
}

/** A call that could not even be sent: to a caller the same as a service that is away. */
export function outOfReach(): Errors.MoleculerError {
  return new Errors.MoleculerRetryableError('Kafka is out of reach', 503, 'BROKER_DISCONNECTED');
}
