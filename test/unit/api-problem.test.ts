import { Errors } from 'moleculer';
import { describe, expect, it } from 'vitest';
import { answerable } from '../../services/api/problem';

const where = { action: 'users.get', nodeID: 'users' };

describe("Moleculer's own errors", () => {
  it.each([
    new Errors.ServiceNotFoundError(where),
    new Errors.ServiceNotAvailableError(where),
    new Errors.RequestTimeoutError(where),
    new Errors.RequestSkippedError(where),
    new Errors.RequestRejectedError(where),
    new Errors.QueueIsFullError(where),
    Reflect.construct(Errors.BrokerDisconnectedError, []) as Errors.MoleculerError,
  ])('say "not now": $name', error => {
    // As it comes from another node: its fields, without its class.
    for (const told of [error, { ...error, message: error.message }]) {
      expect(answerable(told)).toMatchObject({ status: 503, code: 'UNAVAILABLE', retryAfter: 1, isBug: false });
    }
  });

  it('are ours to mend where nobody is away', () => {
    expect(answerable(new Errors.MaxCallLevelError({ nodeID: 'users', level: 20 }))).toMatchObject({ status: 500, isBug: true });
    expect(answerable(new Error('x'))).toMatchObject({ status: 500, code: 'INTERNAL_ERROR', isBug: true, retryAfter: undefined });
  });
});
