export interface Ports {
  /** For clients. */
  broker: number;
  /** For the broker itself, which is its own controller. */
  controller: number;
  /** For clients that say who they are, over TLS. */
  secured?: number;
}

/** Who may come in over TLS, and the certificate that the broker shows. */
export interface Security {
  /** PKCS #12 file with the broker's key. */
  keystore: string;
  keystorePassword: string;
  username: string;
  password: string;
}

type Settings = Record<string, string | number | boolean>;

/** Settings of one server that is broker and controller (KRaft), for tests: nothing waits for others that never come. */
export function serverProperties(ports: Ports, logFolder: string, security?: Security): string {
  return toText({ ...common(ports, logFolder), ...(security && securedListener(security)) });
}

/** Settings of the server `nth` of a cluster that is made of these. */
export function memberProperties(cluster: readonly Ports[], nth: number, logFolder: string): string {
  const replicas = Math.min(3, cluster.length);
  const { 'controller.quorum.bootstrap.servers': _, ...settings } = common(cluster[nth] as Ports, logFolder);
  return toText({
    ...settings,
    'node.id': nth + 1,
    'controller.quorum.voters': cluster.map(({ controller }, at) => `${at + 1}@127.0.0.1:${controller}`).join(),
    'default.replication.factor': replicas,
    'offsets.topic.replication.factor': replicas,
    'min.insync.replicas': replicas - 1,
    // One that is silent is no longer waited for.
    'replica.lag.time.max.ms': 5_000,
  });
}

function common({ broker, controller, secured }: Ports, logFolder: string): Settings {
  const extra = secured === undefined ? '' : `,SECURED://127.0.0.1:${secured}`;
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    listeners: `PLAINTEXT://127.0.0.1:${broker},CONTROLLER://127.0.0.1:${controller}${extra}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${broker}${extra}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL',
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controller}`,
    'log.dirs': logFolder,
    // Three of each is usual, and would never be available on one node.
    'default.replication.factor': 1,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 4,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 2_000,
    'auto.create.topics.enable': false,
    // Offsets of groups that are away for days are still wanted.
    'offsets.retention.minutes': 30 * 24 * 60,
    // After a kill the node waits for its own old session.
    'broker.session.timeout.ms': 2_000,
    'broker.heartbeat.interval.ms': 500,
    // Tests make many topics; an index is mapped into memory for each partition.
    'log.segment.bytes': 64 * 1024 * 1024,
    'log.index.size.max.bytes': 256 * 1024,
    'log.cleaner.dedupe.buffer.size': 16 * 1024 * 1024,
    'num.network.threads': 2,
    'num.io.threads': 4,
    'background.threads': 2,
  };
}

function toText(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

function securedListener({ keystore, keystorePassword, username, password }: Security): Record<string, string> {
  const modules = 'org.apache.kafka.common.security';
  const settings = {
    'ssl.keystore.type': 'PKCS12',
    'ssl.keystore.location': keystore,
    'ssl.keystore.password': keystorePassword,
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'plain.sasl.jaas.config': `${modules}.plain.PlainLoginModule required user_${username}="${password}";`,
    'scram-sha-256.sasl.jaas.config': `${modules}.scram.ScramLoginModule required;`,
    'scram-sha-512.sasl.jaas.config': `${modules}.scram.ScramLoginModule required;`,
  };
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [`listener.name.secured.${name}`, value]));
}
