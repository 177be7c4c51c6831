import { afterEach, expect, it } from 'vitest';
import { echo } from '../helpers/echo.service';
import { meshConfig, startNode, transportKey, untilKnown } from '../helpers/mesh-node';
import { until } from '../helpers/until';
import { describeWithOwnKafka } from '../kafka/describe';
import { type Changes, securedConfig, trust } from '../kafka/tls';

afterEach(() => trust());

describeWithOwnKafka(
  'the transporter over TLS',
  kafka => {
    const secured = () => kafka().secured!;

    it.each(['SCRAM-SHA-256', 'SCRAM-SHA-512', 'PLAIN'] as const)('connects who proves who they are by %s', async mechanism => {
      trust(secured().ca);
      const changes = { transportKeys: [transportKey()], kafka: securedConfig(kafka(), { sasl: { mechanism } }) };
      const caller = await startNode(await meshConfig(changes));
      await startNode(await meshConfig(changes), [echo()]);
      await untilKnown(caller, 'echo.say');
      expect(await caller.broker.call('echo.say', { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
    });

    const refusals: [string, Changes & { isTrusted?: boolean }, RegExp][] = [
      ['a broker that nobody vouches for', { isTrusted: false }, /self-signed certificate/],
      ['a broker with the certificate of another', { host: 'localhost' }, /altnames/],
      ['a wrong password', { sasl: { password: 'guessed' } }, /authentication failed/i],
      ['somebody unknown', { sasl: { username: 'nobody' } }, /authentication failed/i],
      ['a connection without TLS', { ssl: false }, /TLS|closed|ECONNRESET|timed? ?out/i],
    ];
    it.each(refusals)('does not get past %s, and says why', async (_, { isTrusted = true, ...changes }, reason) => {
      if (isTrusted) trust(secured().ca);
      const node = await startNode(await meshConfig({ kafka: securedConfig(kafka(), changes) }));
      const said = () => JSON.stringify(node.log);
      await until(() => /Kafka is out of reach/.test(said()) && reason.test(said()), { timeout: 15_000, what: said() });
      expect(said()).not.toContain(secured().password);
      expect(node.broker.transit?.connected).toBe(false);
    });
  },
  { isSecured: true },
);
