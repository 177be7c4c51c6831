import { setTimeout as delay } from 'node:timers/promises';
import { ConfigResourceTypes } from 'kafkajs';
import { ServiceBroker } from 'moleculer';
import { expect, it } from 'vitest';
import { TOPIC_SETTINGS } from '../../mixins/transport/topics';
import { echo } from '../helpers/echo.service';
import { type MeshNode, meshConfig, startNode, transportKey, untilKnown } from '../helpers/mesh-node';
import { until } from '../helpers/until';
import { describeWithKafka } from '../kafka/describe';
import { TEST_BROKERS } from '../kafka/environment';
import { asAdmin } from './kafka-admin';

/** Two nodes, of which one has the service. */
async function pair() {
  const transportKeys = [transportKey()];
  const caller = await startNode(await meshConfig({ transportKeys }));
  const callee = await startNode(await meshConfig({ transportKeys }), [echo()]);
  await untilKnown(caller, 'echo.say');
  const call = (action: string, params = {}): Promise<unknown> => caller.broker.call(`echo.${action}`, params);
  return { caller, callee, call, transportKeys };
}

const errors = ({ log }: MeshNode) => log.filter(({ level }) => level === 'error').map(({ msg }) => msg);
const isAway = (msg: string) => msg.startsWith('Kafka is out of reach');
const isKnown = ({ broker }: MeshNode, action: string) => broker.registry.actions.isAvailable(action);

describeWithKafka('nodes of a mesh', () => {
  it('call each other', async () => {
    const { callee, call } = await pair();
    expect(await call('say', { word: 'hiver' })).toEqual({ heard: 'hiver', node: callee.broker.nodeID });
    await expect(call('say', { word: 1 })).rejects.toMatchObject({ code: 422, type: 'VALIDATION_FAILED' });
    await expect(call('fail', { status: 500 })).rejects.toThrow('A bug');
  });

  it('lose a signal that is too large for Kafka, and go on', async () => {
    const { caller, callee, call } = await pair();
    const heard: number[] = [];
    const ears = { name: 'ears', events: { hint: ({ params }: { params: string }) => void heard.push(params.length) } };
    callee.broker.createService(ears);
    const { events } = caller.broker.registry;
    await until(() => events.events.some(({ name }: { name: string }) => name === 'hint'));
    await caller.broker.broadcast('hint', 'x'.repeat(2_000_000));
    await caller.broker.broadcast('hint', 'x'.repeat(900_000));
    await until(() => heard.length > 0);
    expect(heard).toEqual([900_000]);
    expect(await call('say', { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
    expect(errors(caller).filter(isAway)).toEqual([]);
  });

  it('are told that a service is not there', async () => {
    const { caller, callee, call } = await pair();
    await expect(caller.broker.call('nobody.knows')).rejects.toMatchObject({ type: 'SERVICE_NOT_FOUND' });
    await callee.stop();
    await expect(call('say', { word: 'hiver' })).rejects.toMatchObject({
      type: expect.stringMatching(/^SERVICE_NOT_(FOUND|AVAILABLE)$/),
    });
  });

  it('answer what they were asked before they stop, and are asked nothing more', async () => {
    const { caller, callee, call, transportKeys } = await pair();
    const other = await startNode(await meshConfig({ transportKeys }), [echo()]);
    const answers: unknown[] = [];
    let isDone = false;
    const asking = (async () => {
      while (!isDone) answers.push(await call('say', { word: 'hiver' }));
    })();
    await until(() => answers.some(answer => (answer as { node: string }).node === other.broker.nodeID), { timeout: 10_000 });
    const slow = caller.broker.call('echo.wait', { ms: 1_000 }, { nodeID: callee.broker.nodeID });
    await delay(100);
    await callee.stop();
    expect(await slow).toEqual({ node: callee.broker.nodeID });
    const before = answers.length;
    await until(() => answers.length > before + 20);
    isDone = true;
    await asking;
    expect(new Set(answers.slice(before).map(answer => (answer as { node: string }).node))).toEqual(
      new Set([other.broker.nodeID]),
    );
  });

  it('do not understand who has another key, and say so once', async () => {
    const { caller, callee } = await pair();
    const stranger = await startNode(await meshConfig(), [{ ...echo(), name: 'stranger' }]);
    const dropped = /packet\(s\) from other nodes do not open and are dropped; the last, [A-Z]+: \S/;
    await until(() => errors(caller).some(msg => dropped.test(msg)) && errors(stranger).some(msg => dropped.test(msg)));
    // Several heartbeats and what answers them.
    await delay(3_000);
    expect(isKnown(caller, 'stranger.say')).toBe(false);
    expect(isKnown(stranger, 'echo.say')).toBe(false);
    expect(stranger.broker.registry.nodes.toArray().filter(({ local }) => !local)).toEqual([]);
    for (const node of [caller, callee, stranger]) expect(errors(node).filter(msg => dropped.test(msg))).toHaveLength(1);
  });

  it('do not understand who has no key', async () => {
    const { caller } = await pair();
    const open = new ServiceBroker({
      namespace: 'hiver',
      nodeID: 'open',
      logger: false,
      transporter: { type: 'Kafka', options: { bootstrapBrokers: process.env[TEST_BROKERS]?.split(',') } },
    });
    open.createService({ name: 'intruder', actions: { call: () => 'in' } });
    await open.start();
    try {
      await until(() => errors(caller).some(msg => msg.endsWith('It is not sealed')));
      expect(isKnown(caller, 'intruder.call')).toBe(false);
      expect(open.registry.nodes.toArray().map(({ id }) => id)).not.toContain(caller.broker.nodeID);
    } finally {
      await open.stop();
    }
  });

  it('go on understanding each other while keys are exchanged', async () => {
    const [old, young] = [transportKey('2025'), transportKey('2026')];
    const keysOf = [[old], [old, young], [young, old], [young]];
    const nodes = await Promise.all(
      keysOf.map(async (transportKeys, n) => startNode(await meshConfig({ transportKeys }), [{ ...echo(), name: `echo${n}` }])),
    );
    for (const [one, two] of [
      [0, 1],
      [1, 2],
      [2, 3],
    ] as const) {
      const [a, b] = [nodes[one] as MeshNode, nodes[two] as MeshNode];
      await untilKnown(a, `echo${two}.say`);
      await untilKnown(b, `echo${one}.say`);
      expect(await a.broker.call(`echo${two}.say`, { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
      expect(await b.broker.call(`echo${one}.say`, { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
    }
    expect(isKnown(nodes[0] as MeshNode, 'echo3.say')).toBe(false);
  });

  it('make topics that forget soon, and mend those that do not', async () => {
    const config = await meshConfig();
    const kept = { topic: `MOL-hiver.REQ.${config.nodeId}`, numPartitions: 1, replicationFactor: 1 };
    await asAdmin(admin => admin.createTopics({ topics: [kept], waitForLeaders: true }));
    const node = await startNode(config);
    await until(() => node.broker.transit?.connected, { timeout: 20_000 });
    const topics = (await asAdmin(admin => admin.listTopics())).filter(
      name => name.endsWith(`.${config.nodeId}`) || /^MOL-hiver\.[A-Z]+$/.test(name),
    );
    expect(topics).toHaveLength(12);
    const { resources } = await asAdmin(admin =>
      admin.describeConfigs({
        resources: topics.map(name => ({ type: ConfigResourceTypes.TOPIC, name, configNames: Object.keys(TOPIC_SETTINGS) })),
        includeSynonyms: false,
      }),
    );
    for (const { configEntries } of resources) {
      expect(Object.fromEntries(configEntries.map(({ configName, configValue }) => [configName, configValue]))).toEqual(
        TOPIC_SETTINGS,
      );
    }
    expect(TOPIC_SETTINGS['retention.ms']).toBe('600000');
    expect(node.log.filter(({ msg }) => /have been mended/.test(msg)).map(({ msg }) => msg.split(': ')[1])).toEqual([kept.topic]);
    const { topics: described } = await asAdmin(admin => admin.fetchTopicMetadata({ topics }));
    for (const { partitions } of described) expect(partitions).toHaveLength(1);
  });

  it('leave no groups and offsets behind', async () => {
    const node = await startNode(await meshConfig());
    await until(() => node.broker.transit?.connected, { timeout: 20_000 });
    const group = `hiver.${node.broker.nodeID}.${node.broker.instanceID}`;
    const { groups } = await asAdmin(admin => admin.listGroups());
    expect(groups.map(({ groupId }) => groupId)).toContain(group);
    expect(await asAdmin(admin => admin.fetchOffsets({ groupId: group }))).toEqual([]);
  });
});

describeWithKafka('a node id', () => {
  it('belongs to who was there first: a second process ends, and names NODE_ID', async () => {
    const { caller, callee, call, transportKeys } = await pair();
    const twin = await startNode(await meshConfig({ transportKeys, nodeId: callee.broker.nodeID }), [echo()]);
    await until(() => twin.fatal.length > 0, { timeout: 10_000 });
    expect(twin.fatal[0]).toBe(`Another process is running with the node id ${callee.broker.nodeID}. Give each its own NODE_ID`);
    expect([caller.fatal, callee.fatal]).toEqual([[], []]);
    expect(await call('say', { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
  });

  it('belongs to one of two that start together', async () => {
    const config = await meshConfig();
    const twins = await Promise.all([startNode(config, [echo()]), startNode(config, [echo()])]);
    await until(() => twins.some(({ fatal }) => fatal.length > 0), { timeout: 20_000 });
    await delay(1_000);
    expect(twins.filter(({ fatal }) => fatal.length > 0)).toHaveLength(1);
  });

  it('may be taken again at once by who follows', async () => {
    const { caller, callee, call, transportKeys } = await pair();
    const config = await meshConfig({ transportKeys, nodeId: callee.broker.nodeID });
    await callee.stop();
    const next = await startNode(config, [echo()]);
    await until(() => call('say', { word: 'hiver' }), { timeout: 10_000 });
    expect([next.fatal, caller.fatal]).toEqual([[], []]);
  });
});

describeWithKafka('a call that another node did not answer', () => {
  it('is repeated where it only reads, or says that it may be', async () => {
    const { call } = await pair();
    expect(await call('read')).toEqual({ calls: 2 });
    expect(await call('repeat')).toEqual({ calls: 2 });
  });

  it('is never repeated where it writes', async () => {
    const { call } = await pair();
    await expect(call('write')).rejects.toMatchObject({ type: 'REQUEST_REJECTED' });
    expect(await call('write')).toEqual({ calls: 2 });
  });

  it.each(['REQUEST_TIMEOUT', 'UNAVAILABLE'])('is not repeated after %s', async type => {
    const { call } = await pair();
    await expect(call('read', { type })).rejects.toMatchObject({ type });
    expect(await call('read')).toEqual({ calls: 2 });
  });
});

describeWithKafka('a node that fails at one action', () => {
  const many = 30;

  it('is asked for it no more, until it answers again', async () => {
    const { caller, call } = await pair();
    for (let n = 0; n < many && isKnown(caller, 'echo.fail'); n++) await call('fail', { status: 500 }).catch(() => undefined);
    await expect(call('fail', { status: 200 })).rejects.toMatchObject({ type: 'SERVICE_NOT_AVAILABLE' });
    // Its other actions are as they were.
    expect(await call('say', { word: 'hiver' })).toMatchObject({ heard: 'hiver' });
    expect(await until(() => call('fail', { status: 200 }), { timeout: 10_000 })).toEqual({});
    for (let n = 0; n < many; n++) expect(await call('fail', { status: 200 })).toEqual({});
  });

  it.each([422, 503])('is asked on when it says %i on purpose', async status => {
    const { call } = await pair();
    for (let n = 0; n < many; n++) await expect(call('fail', { status })).rejects.toMatchObject({ code: status });
    expect(await call('fail', { status: 200 })).toEqual({});
  });

  it('is no matter of calls within one process', async () => {
    const { callee } = await pair();
    for (let n = 0; n < many; n++) await expect(callee.broker.call('echo.fail', { status: 500 })).rejects.toThrow('A bug');
    expect(await callee.broker.call('echo.fail', { status: 200 })).toEqual({});
  });
});
