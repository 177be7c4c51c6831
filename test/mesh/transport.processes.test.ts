import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import type { Config } from '../../mixins/config';
import { type MeshNode, meshConfig, startNode, transportKey } from '../helpers/mesh-node';
import { until } from '../helpers/until';
import { describeWithKafka, describeWithOwnKafka } from '../kafka/describe';
import { asAdmin } from './kafka-admin';

const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

/** A node in a process of its own. */
class EchoNode {
  output = '';
  readonly #child: ChildProcess;

  constructor(readonly config: Config) {
    this.#child = spawn(process.execPath, ['--import', 'tsx', 'test/helpers/echo-node.ts'], { stdio: 'pipe' });
    children.add(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', text => {
        this.output += text;
      });
    }
    this.#child.stdin?.end(JSON.stringify(config));
  }

  get id(): string {
    return this.config.nodeId;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async connected(): Promise<this> {
    await until(() => this.output.includes('connected\n'), { timeout: 30_000, what: `The start:\n${this.output}` });
    return this;
  }

  /** Its exit code, or the signal that ended it. */
  async ended(timeout = 20_000): Promise<number | string> {
    const { exit } = await until(
      () => {
        const exit = this.#child.exitCode ?? this.#child.signalCode;
        return exit === null ? undefined : { exit };
      },
      { timeout, what: `The end of:\n${this.output}` },
    );
    return exit;
  }
}

async function start(overrides: Partial<Config>): Promise<EchoNode> {
  return new EchoNode(await meshConfig({ host: '0.0.0.0', ...overrides })).connected();
}

/** A caller in this process, and so many nodes that answer. */
async function mesh(nodes: number) {
  const transportKeys = [transportKey()];
  const caller = await startNode(await meshConfig({ transportKeys }));
  const callees = await Promise.all(Array.from({ length: nodes }, () => start({ transportKeys })));
  for (const { id } of callees) await until(() => isAsked(caller, id), { timeout: 20_000, what: `${id} to be known` });
  return { caller, callees, transportKeys };
}

function isAsked({ broker }: MeshNode, nodeId: string): boolean {
  return broker.registry.actions.isAvailable('echo.say') && !!broker.registry.nodes.get(nodeId)?.available;
}

const ask = ({ broker }: MeshNode, action: string, params: object, nodeID?: string) =>
  broker.call<{ node: string }, object>(`echo.${action}`, params, { nodeID });

describeWithKafka('a node that is killed', () => {
  it('is dropped, and what only reads is asked of another one', { timeout: 90_000 }, async () => {
    const { caller, callees } = await mesh(2);
    // The balancer takes turns.
    const reads = Promise.all([1, 2].map(() => ask(caller, 'wait', { ms: 3_000 })));
    const writes = Promise.allSettled(callees.map(({ id }) => ask(caller, 'work', { ms: 3_000 }, id)));
    await delay(500);
    const [victim, survivor] = callees as [EchoNode, EchoNode];
    victim.kill('SIGKILL');
    const before = performance.now();
    expect((await reads).map(({ node }) => node)).toEqual([survivor.id, survivor.id]);
    expect((performance.now() - before) / 1_000).toBeLessThan(20);
    expect(await writes).toMatchObject([
      { status: 'rejected', reason: { type: 'REQUEST_REJECTED' } },
      { status: 'fulfilled', value: { node: survivor.id } },
    ]);
    for (let n = 0; n < 20; n++) expect(await ask(caller, 'say', { word: 'hiver' })).toMatchObject({ node: survivor.id });
  });

  it('is back under its name at once when it is started again', { timeout: 90_000 }, async () => {
    const { caller, callees, transportKeys } = await mesh(1);
    const [victim] = callees as [EchoNode];
    victim.kill('SIGKILL');
    await victim.ended();
    const next = await start({ transportKeys, nodeId: victim.id });
    await until(() => ask(caller, 'say', { word: 'hiver' }), { timeout: 10_000 });
    expect(next.output).not.toMatch(/NODE_ID/);
  });
});

describeWithKafka('a node that is told to end', () => {
  it('answers what it was asked, and is asked nothing more', { timeout: 90_000 }, async () => {
    const { caller, callees } = await mesh(2);
    const [leaver, stayer] = callees as [EchoNode, EchoNode];
    let isDone = false;
    const asking = (async () => {
      while (!isDone) await ask(caller, 'say', { word: 'hiver' });
    })();
    const slow = [1, 2, 3].map(() => ask(caller, 'work', { ms: 1_000 }, leaver.id));
    await delay(300);
    leaver.kill('SIGTERM');
    for (const answer of await Promise.all(slow)) expect(answer).toEqual({ node: leaver.id });
    expect(await leaver.ended()).toBe(0);
    expect(caller.broker.registry.nodes.get(leaver.id)?.available).toBe(false);
    isDone = true;
    await asking;
    expect(await ask(caller, 'say', { word: 'hiver' })).toMatchObject({ node: stayer.id });
  });
});

describeWithKafka('a process', () => {
  it('that takes a node id which is in use ends with an error that names NODE_ID', { timeout: 90_000 }, async () => {
    const { caller, callees, transportKeys } = await mesh(1);
    const [first] = callees as [EchoNode];
    const second = new EchoNode(await meshConfig({ transportKeys, nodeId: first.id }));
    expect(await second.ended()).toBe(1);
    expect(second.output).toMatch(new RegExp(`Another process is running with the node id ${first.id}.*NODE_ID`));
    for (let n = 0; n < 20; n++) expect(await ask(caller, 'say', { word: 'hiver' })).toMatchObject({ node: first.id });
  });

  it('that can hear nothing any more, for good, ends with an error', { timeout: 90_000 }, async () => {
    const { callees } = await mesh(1);
    const [node] = callees as [EchoNode];
    await asAdmin(admin => admin.deleteTopics({ topics: [`MOL-hiver.REQ.${node.id}`] }));
    expect(await node.ended(60_000)).toBe(1);
    expect(node.output).toMatch(/This node cannot hear the others any more, and ends to be started again/);
  });
});

describeWithOwnKafka('a process whose Kafka is away', kafka => {
  it('ends in good order, and soon', { timeout: 90_000 }, async () => {
    const node = await start({});
    await kafka().kill();
    await until(() => /Kafka is out of reach/.test(node.output), { timeout: 20_000 });
    const before = performance.now();
    node.kill('SIGTERM');
    // 1 is what it ends with when its time is up.
    expect(await node.ended()).toBe(0);
    expect(performance.now() - before).toBeLessThan(4_500);
    await kafka().restart();
  });

  it('ends in good order when it was never connected', { timeout: 90_000 }, async () => {
    await kafka().kill();
    const node = new EchoNode(await meshConfig());
    await until(() => /Kafka is out of reach/.test(node.output), { timeout: 20_000 });
    node.kill('SIGTERM');
    expect(await node.ended()).toBe(0);
    await kafka().restart();
  });
});
