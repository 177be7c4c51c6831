import type { TracingConfig } from './config';

/** Share of the traces that is recorded: of those that begin here, and of those that a caller from outside began. */
interface Chances {
  own: number;
  /** The caller records its own part. */
  sampled: number;
  unsampled: number;
}

/**
 * What a sampler means at the edge. Within, every span follows the one above it.
 *
 * A client may name any trace and say that it is sampled, so neither its flag nor the bits of its trace id decide what is
 * recorded by ratio: chance does.
 */
export function chancesOf({ sampler, ratio }: Pick<TracingConfig, 'sampler' | 'ratio'>): Chances {
  const of: { [Sampler in TracingConfig['sampler']]: Chances } = {
    always_on: { own: 1, sampled: 1, unsampled: 1 },
    always_off: { own: 0, sampled: 0, unsampled: 0 },
    traceidratio: { own: ratio, sampled: ratio, unsampled: ratio },
    parentbased_always_on: { own: 1, sampled: 1, unsampled: 0 },
    parentbased_always_off: { own: 0, sampled: 1, unsampled: 0 },
    parentbased_traceidratio: { own: ratio, sampled: ratio, unsampled: 0 },
  };
  return of[sampler];
}
