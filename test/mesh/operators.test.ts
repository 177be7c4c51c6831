import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { type BrokerOptions, ServiceBroker } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Config, NodeRole } from '../../mixins/config';
import { useCarrier } from '../../mixins/events/carriers';
import { brokerOptions } from '../../moleculer.config';
import { servicesOf } from '../../services';
import { testConfig, urlOf } from '../helpers/app';
import { Client } from '../helpers/client';
import { operatorLog, poolOf, type, typeJson } from '../helpers/operator';
import { join, type SignedIn, signUp } from '../helpers/people';
import { until } from '../helpers/until';
import { describeWithKafka } from '../kafka/describe';
import { makeCarrier } from './kafka-carrier';

const run = `operators-${uuidv7()}`;
const brokers: ServiceBroker[] = [];
const children = new Set<ChildProcess>();
afterAll(async () => {
  for (const operator of children) operator.kill('SIGKILL');
  await Promise.all(brokers.map(broker => broker.stop()));
});

/** A node of the mesh in this process: with the others by `transporter`, and by Kafka for events. */
async function startNode(config: Config, roles: NodeRole[], transporter: BrokerOptions['transporter']): Promise<ServiceBroker> {
  const nodeId = `${roles.join('-') || 'repl'}-1`;
  const options = brokerOptions({ ...config, services: roles, nodeId }, { log: false });
  const broker = new ServiceBroker({ ...options, transporter });
  if (roles.length > 0) useCarrier(broker, makeCarrier(broker, run));
  for (const schema of servicesOf(roles)) broker.createService(schema);
  brokers.push(broker);
  await broker.start();
  return broker;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

describeWithKafka('operators of a mesh', () => {
  let repl: ServiceBroker;
  let presenceNode: ServiceBroker;
  let presence: ReturnType<typeof poolOf>;
  let users: ReturnType<typeof poolOf>;
  let admin: SignedIn;
  let config: Config;
  /** By which another process joins. */
  let transporter: BrokerOptions['transporter'];

  beforeAll(async () => {
    config = await testConfig({ services: ['users', 'presence', 'notifications'] });
    const urls = await Promise.all(
      ['users-api-1', 'presence-1', 'notifications-1', 'repl-1', 'repl-test'].map(
        async id => `127.0.0.1:${await freePort()}/${id}`,
      ),
    );
    transporter = { type: 'TCP', options: { udpDiscovery: false, urls, gossipPeriod: 1 } } as never;
    const usersNode = await startNode(config, ['users', 'api'], transporter);
    presenceNode = await startNode(config, ['presence'], transporter);
    await startNode(config, ['notifications'], transporter);
    repl = await startNode(config, [], transporter);
    await repl.waitForServices(['users', 'auth', 'users.events', 'presence.events', 'notifications.events'], 20_000, 50);
    await presenceNode.waitForServices('users.events', 20_000, 50);
    presence = poolOf(config.databaseUrls.presence);
    users = poolOf(config.databaseUrls.users);
    admin = await signUp(new Client(urlOf(usersNode)));
    await until(async () => (await presence.query('select from user_infos')).rowCount, { timeout: 20_000 });
  }, 120_000);

  it('sees every domain that runs, from a node that has none, and says which do not', async () => {
    await until(async () =>
      (await typeJson(repl, 'events status')).json.every(({ lag = [] }: any) => lag?.every((at: any) => at.lag === 0)),
    );
    const { isWell, out } = await type(repl, 'events status');
    expect(isWell).toBe(true);
    expect(out).toMatch(/^users +users-api-1 +kafka +0 .* users-api-1 \(\d+\) /m);
    expect(out).toMatch(/^presence +presence-1 +kafka /m);
    expect(out).toContain('tasks: tasks does not run in this mesh');
    const { json } = await typeJson(repl, 'events status presence');
    expect(json.lag).toHaveLength(7 * 6);
    expect(json.lag.map(({ place }: any) => place)).toContain('users.create/5');
    expect(await type(repl, 'events verify tasks')).toEqual({ isWell: false, out: '', err: 'tasks does not run in this mesh\n' });
  });

  it('verifies a copy against an owner that is another process, and mends it', async () => {
    expect(await typeJson(repl, 'events verify presence')).toMatchObject({ isWell: true, json: { isSame: true } });
    await presence.query(`update user_infos set version = 0, first_name = 'Old' where id = $1`, [admin.user.id]);
    expect((await typeJson(repl, 'events verify presence')).json.copies[0]).toMatchObject({
      isSame: false,
      differing: [admin.user.id],
    });
    expect((await type(repl, 'events republish users')).isWell).toBe(true);
    await until(async () => (await type(repl, 'events verify presence')).isWell, { timeout: 20_000 });
    await presence.query('truncate user_infos, team_infos, company_infos');
    expect((await type(repl, 'events replay presence')).out).toMatch(/^\d+ events read/);
    expect((await type(repl, 'events verify presence')).isWell).toBe(true);
    expect((await operatorLog(presence))[0]).toMatchObject({ command: 'presence.events.verify', outcome: 'DONE' });
  });

  it('ends sessions', async () => {
    const person = await join(admin, config.dataDir);
    expect((await type(repl, `sessions end ${person.email}`)).out).toContain('1 session ended');
    await until(async () => (await person.client.get('/users/me')).status === 401);
    await until(async () => (await presence.query('select from ended_sessions')).rowCount, { timeout: 20_000 });
    expect((await type(repl, `users show ${person.email}`)).out).toMatch(/ACTIVE +- +0 /);
    expect((await operatorLog(users))[0]).toMatchObject({ command: 'users.show' });
  });

  const spawnChild = ([how = '', ...rest]: readonly string[]) => {
    const script = ['--import', 'tsx', 'test/mesh/repl-child.ts', how, JSON.stringify(transporter), ...rest];
    const operator = spawn(process.execPath, script);
    children.add(operator);
    operator.once('exit', () => children.delete(operator));
    return operator;
  };

  const child = async (args: readonly string[], input = '') => {
    const operator = spawnChild(args);
    operator.stdin.end(input);
    const [out, err, [code]] = await Promise.all([text(operator.stdout), text(operator.stderr), once(operator, 'exit')]);
    return { out, err, code };
  };

  it('runs one command for a script, with one document and an exit code', async () => {
    const status = await child(['session', 'events status presence --json']);
    expect(status).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(status.out)).toMatchObject({ domain: 'presence', node: 'presence-1' });
    const nonsense = await child(['session', 'events status payroll --json']);
    expect(nonsense).toMatchObject({ code: 1, err: '' });
    expect(JSON.parse(nonsense.out)).toMatchObject({ error: expect.stringContaining('There is no domain payroll') });
  });

  it('takes commands from a pipe, any action among them', async () => {
    const piped = await child(['session'], `users show ${admin.email}\n\ncall presence.events.status {"operator": "a script"}\n`);
    expect(piped).toMatchObject({ code: 0, err: '' });
    expect(piped.out).toContain(admin.user.id);
    expect(piped.out).toContain('"domain": "presence"');
    expect((await operatorLog(presence))[0]).toMatchObject({ operator: 'a script' });
    const wrong = await child(['session'], 'nodes\ncall users.nothing\ncall users.show {"email"\n');
    expect(wrong.code).toBe(1);
    expect(wrong.err.split('\n')).toEqual([
      'nodes is for the terminal. Without one there are events, users, sessions and call <action> [JSON].',
      'users does not run in this mesh',
      'That is no JSON: {"email"',
      '',
    ]);
  });

  it('asks at a prompt, with commands of Moleculer beside ours', async () => {
    const operator = spawnChild(['prompt']);
    let seen = '';
    for (const stream of [operator.stdout, operator.stderr]) {
      stream.on('data', chunk => {
        seen += chunk;
      });
    }
    const sees = (what: RegExp | string) => until(() => seen.match(what), { timeout: 30_000, what: `${what} in ${seen}` });
    const types = async (line: string, what: RegExp | string) => {
      seen = '';
      operator.stdin.write(`${line}\n`);
      await sees(what);
    };
    await sees(
      /Joined as repl-test\. There are:\n {2}notifications-1: notifications\n {2}presence-1: presence\n {2}repl-1: no services\n {2}users-api-1: /,
    );
    await sees(/hiver \$ $/);
    await types('events status presence', /^presence +presence-1 +kafka/m);
    await types('events status presence --json', /"domain": "presence"/);
    await types('events', /events what\?\n {2}events status \[domain\]/);
    await types('users show x', 'x is no e-mail address.');
    await types('events status tasks', 'tasks does not run in this mesh');
    await types('handlers --local', '║ Event');
    await types(`call users.show --email ${admin.email} --operator prompt`, admin.user.id);
    await types('help', /^ +events .*The event log: status, dead/m);
    operator.stdin.end();
    expect(await once(operator, 'exit')).toEqual([0, null]);
  });
});
