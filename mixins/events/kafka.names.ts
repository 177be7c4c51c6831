/** What things are called in Kafka. */
export interface Names {
  /** A topic, by the name of its event. */
  topic: (event: string) => string;
  /** The event, by the name of its topic. */
  event: (topic: string) => string;
  /** A consumer group, by its domain. */
  group: (domain: string) => string;
}

/** @param prefix put before every name, so that several event logs can be in one cluster; nothing unless told */
export function namesWith(prefix = ''): Names {
  return {
    topic: event => prefix + event,
    event: topic => topic.slice(prefix.length),
    group: domain => prefix + domain,
  };
}
