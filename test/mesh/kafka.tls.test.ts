import { afterEach, expect, it } from 'vitest';
import { savePerson } from '../contract/carrier-node';
import { Lines, Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';
import { describeWithOwnKafka } from '../kafka/describe';
import { type Changes, securedConfig, trust } from '../kafka/tls';
import { makeCarrier } from './kafka-carrier';

afterEach(() => trust());

describeWithOwnKafka(
  'Kafka over TLS',
  kafka => {
    const secured = () => kafka().secured!;

    async function start(changes: Changes = {}) {
      const connection = { ...securedConfig(kafka(), changes), clientId: 'test' };
      const [probe, log] = [await Probe.make(), new Lines()];
      const node = await probe.start({ log, makeCarrier: (broker, run) => makeCarrier(broker, run, { connection }) });
      await savePerson(node.owner.database);
      return { probe, log };
    }

    it.each(['SCRAM-SHA-256', 'SCRAM-SHA-512', 'PLAIN'] as const)(
      'carries events for who proves who they are by %s',
      async mechanism => {
        trust(secured().ca);
        const { probe } = await start({ sasl: { mechanism } });
        await until(async () => (await probe.replicas()).length === 1, { timeout: 20_000 });
        expect(await probe.effects()).toHaveLength(1);
        expect(await probe.count('owner', 'outbox where published_at is null')).toBe(0);
      },
    );

    const refusals: [string, Changes & { isTrusted?: boolean }, RegExp][] = [
      ['a broker that nobody vouches for', { isTrusted: false }, /self-signed certificate/],
      ['a broker with the certificate of another', { host: 'localhost' }, /altnames/],
      ['a wrong password', { sasl: { password: 'guessed' } }, /authentication failed/i],
      ['somebody unknown', { sasl: { username: 'nobody' } }, /authentication failed/i],
      ['a connection without TLS', { ssl: false }, /closed|ECONNRESET|disconnect|timed? ?out/i],
    ];
    it.each(refusals)(
      'does not get past %s, says why, and keeps the events',
      async (_, { isTrusted = true, ...changes }, reason) => {
        if (isTrusted) trust(secured().ca);
        const { probe, log } = await start(changes);
        await until(() => log.all.some(line => reason.test(line)), {
          timeout: 15_000,
          what: `${reason} in\n${log.all.join('\n')}`,
        });
        expect(log.all.join('\n')).not.toContain(secured().password);
        expect(await probe.count('owner', 'outbox where published_at is null')).toBe(1);
        expect(await probe.replicas()).toEqual([]);
      },
    );
  },
  { isSecured: true },
);
