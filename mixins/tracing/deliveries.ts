import type { ServiceBroker } from 'moleculer';
import type { Unit } from '../events/delivery';
import { endSpan, type Step, tracingOf } from './tracing';

/** Runs what some events cause, and makes it part of the traces that recorded them. */
export type TraceUnits = <T>(units: readonly Unit[], work: (units: readonly Unit[]) => Promise<T>) => Promise<T>;

const untraced: TraceUnits = (units, work) => work(units);

/**
 * What adds the handling of events to their traces: a span for each event and handler, from the beginning of the
 * transaction until it is committed. Events of traces that are not recorded cost a look at the flag.
 * @param group name of the domain
 */
export function unitTracer(broker: ServiceBroker, group: string): TraceUnits {
  const tracing = tracingOf(broker);
  if (!tracing) return untraced;
  return async (units, work) => {
    const spans = units.map(unit => tracing.goOnIfSampled(stepOf(unit, group), unit.envelope?.traceparent));
    const end = (failure?: Parameters<typeof endSpan>[1]) => {
      for (const trace of spans) endSpan(trace?.span, failure);
    };
    try {
      // What a handler calls and records goes on from its own span.
      const result = await work(units.map((unit, nth) => withTraceparent(unit, spans[nth]?.traceparent)));
      end();
      return result;
    } catch (error) {
      const { code, name } = error as { code?: unknown; name?: unknown };
      end({ isBug: true, type: String(code ?? name) });
      throw error;
    }
  };
}

function withTraceparent(unit: Unit, traceparent: string | undefined): Unit {
  if (!unit.envelope || traceparent === undefined) return unit;
  return { ...unit, envelope: { ...unit.envelope, traceparent } };
}

function stepOf({ handler, kind, event, eventId }: Unit, group: string): Step {
  return {
    name: `process ${event.topic}`,
    kind: 'CONSUMER',
    attributes: {
      'messaging.system': 'hiver',
      'messaging.operation.type': 'process',
      'messaging.operation.name': kind,
      'messaging.destination.name': event.topic,
      'messaging.consumer.group.name': group,
      'messaging.message.id': eventId,
      'hiver.service': handler.service,
    },
  };
}
