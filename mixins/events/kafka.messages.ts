import type { KafkaMessage } from 'kafkajs';
import type { CarriedEvent } from './carrier';

/** Most events of a chunk: they are one transaction. */
const CHUNK = 500;

/** Divides what was fetched of a partition. */
export function chunksOf(messages: readonly KafkaMessage[]): KafkaMessage[][] {
  return Array.from({ length: Math.ceil(messages.length / CHUNK) }, (_, nth) => messages.slice(nth * CHUNK, (nth + 1) * CHUNK));
}

/** @param topic name of the event, which is not always that of the topic in Kafka */
export function toEvent(topic: string, partition: number, message: KafkaMessage, firstEnd: number): CarriedEvent {
  return {
    topic,
    key: message.key?.toString() ?? '',
    value: message.value?.toString() ?? null,
    place: `${topic}/${partition}/${message.offset}`,
    isFirstCatchUp: Number(message.offset) < firstEnd,
  };
}
