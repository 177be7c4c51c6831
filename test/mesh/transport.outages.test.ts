import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Service, ServiceBroker } from 'moleculer';
import { expect, it } from 'vitest';
import type { Config } from '../../mixins/config';
import { servicesOf } from '../../services';
import { echo } from '../helpers/echo.service';
import { type MeshNode, meshConfig, startNode, transportKey, untilKnown } from '../helpers/mesh-node';
import { until } from '../helpers/until';
import { describeWithOwnKafka } from '../kafka/describe';
import { TEST_BROKERS } from '../kafka/environment';

/** Less than the 4.5 s that a process is given before it is ended as it is. */
const SOON = 4_000;
const RECOVERY = 20_000;

const errors = ({ log }: MeshNode) => log.filter(({ level }) => level === 'error').map(({ msg }) => msg);
const isAway = (msg: string) => /^Kafka is out of reach/.test(msg);
const isBack = ({ log }: MeshNode) => log.some(({ msg }) => /^Kafka can be reached again, after \d+ s$/.test(msg));

async function pair() {
  const transportKeys = [transportKey()];
  const caller = await startNode(await meshConfig({ transportKeys }));
  const callee = await startNode(await meshConfig({ transportKeys }), [echo()]);
  await untilKnown(caller, 'echo.say');
  return { caller, callee, say: () => caller.broker.call('echo.say', { word: 'hiver' }) };
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

/** Files of the broker's logs that hold a text. */
function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    name => name.endsWith('.log') && readFileSync(join(folder, name)).includes(text),
  );
}

describeWithOwnKafka('what nodes tell each other', kafka => {
  it('cannot be read on the disks of Kafka', async () => {
    const [sealed, open] = [`canary-${randomBytes(9).toString('hex')}`, `canary-${randomBytes(9).toString('hex')}`];
    const { caller } = await pair();
    expect(await caller.broker.call('echo.say', { word: sealed })).toMatchObject({ heard: sealed });

    // The same without our middleware, so that the search is known to find what there is.
    const plain = (nodeID: string) =>
      new ServiceBroker({
        namespace: 'plain',
        nodeID,
        logger: false,
        transporter: { type: 'Kafka', options: { bootstrapBrokers: process.env[TEST_BROKERS]?.split(',') } },
      });
    const nodes = [plain('one'), plain('two')];
    nodes[1]?.createService({ name: 'echo', actions: { say: ctx => ctx.params } });
    for (const node of nodes) await node.start();
    try {
      await nodes[0]?.waitForServices('echo');
      await nodes[0]?.call('echo.say', { word: open });
      await until(() => filesWith(kafka().dataFolder, open).length > 0);
      expect(filesWith(kafka().dataFolder, sealed)).toEqual([]);
      // Not even names: the topic is there, and its packets are closed.
      const requests = filesWith(kafka().dataFolder, 'echo.say');
      expect(requests.length).toBeGreaterThan(0);
      for (const name of requests) expect(name).toMatch(/^MOL-plain\./);
    } finally {
      for (const node of nodes) await node.stop();
    }
  });
});

describeWithOwnKafka('nodes whose Kafka is down', kafka => {
  it('start without it, answer HTTP at once, and call each other when it comes up', { timeout: 90_000 }, async () => {
    await kafka().kill();
    const transportKeys = [transportKey()];
    const privateKeys = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey;
    const config: Partial<Config> = {
      transportKeys,
      services: ['api'],
      jwt: { issuer: 'hiver', audience: 'hiver', privateKeys, jwksUrl: undefined },
    };
    let caller: MeshNode | undefined;
    expect(
      await timeOf(async () => {
        caller = await startNode(await meshConfig(config), servicesOf(['api']));
      }),
    ).toBeLessThan(SOON);
    const node = caller as MeshNode;
    await startNode(await meshConfig({ transportKeys }), [echo()]);
    expect((await fetch(`${urlOf(node)}/health/live`)).status).toBe(200);
    await expect(node.broker.call('echo.say', { word: 'hiver' })).rejects.toMatchObject({ type: 'SERVICE_NOT_FOUND' });
    await until(() => errors(node).some(isAway));
    await delay(3_000);
    expect(errors(node).filter(isAway)).toHaveLength(1);
    await kafka().restart();
    await untilKnown(node, 'echo.say', RECOVERY);
    expect(await node.broker.call('echo.say', { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
    expect(isBack(node)).toBe(true);
  });

  it('stop soon: before they were ever connected', async () => {
    await kafka().kill();
    const node = await startNode(await meshConfig(), [echo()]);
    await until(() => errors(node).some(isAway));
    expect(await timeOf(() => node.stop())).toBeLessThan(SOON);
    await kafka().restart();
  });

  it('stop soon: when they were connected', { timeout: 60_000 }, async () => {
    const { caller, callee, say } = await pair();
    await say();
    await kafka().kill();
    await until(() => errors(caller).some(isAway), { timeout: 10_000 });
    expect(await timeOf(() => Promise.all([caller.stop(), callee.stop()]))).toBeLessThan(SOON);
    await kafka().restart();
  });

  it('stop soon: before they have noticed', { timeout: 60_000 }, async () => {
    const { caller, callee, say } = await pair();
    await say();
    await kafka().kill();
    expect(await timeOf(() => Promise.all([caller.stop(), callee.stop()]))).toBeLessThan(SOON);
    await kafka().restart();
  });

  // With HIVER_LONG_OUTAGE=60 the same with a longer one; 15 s are longer than a session of the consumer's group.
  it.each([5, Number(process.env.HIVER_LONG_OUTAGE ?? 15)])(
    'call each other again by themselves after %i s',
    { timeout: 180_000 },
    async seconds => {
      const { caller, callee, say } = await pair();
      await say();
      await kafka().kill();
      const failures = new Set<unknown>();
      for (const end = performance.now() + seconds * 1_000; performance.now() < end; await delay(200)) {
        await say().catch(({ type }) => failures.add(type));
      }
      // A caller is told soon, in words that the API knows.
      for (const type of failures) {
        expect(['BROKER_DISCONNECTED', 'REQUEST_REJECTED', 'SERVICE_NOT_FOUND', 'SERVICE_NOT_AVAILABLE']).toContain(type);
      }
      expect(failures.size).toBeGreaterThan(0);
      await kafka().restart();
      await until(say, { timeout: RECOVERY });
      for (let n = 0; n < 50; n++) expect(await say()).toMatchObject({ heard: 'hiver' });
      for (const node of [caller, callee]) {
        expect(node.fatal).toEqual([]);
        expect(errors(node).filter(isAway).length).toBeLessThanOrEqual(1);
      }
      await until(() => isBack(caller));
    },
  );
});

function urlOf({ broker }: MeshNode): string {
  const { server } = broker.getLocalService('api') as Service & { server: Server };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
