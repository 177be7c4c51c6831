import { randomBytes } from 'node:crypto';
import { beforeAll, expect, it } from 'vitest';
import { generateKey, toPem } from '../../mixins/auth/key-files';
import { DOMAINS, type Domain } from '../../mixins/config';
import { replay } from '../../mixins/events/operators';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { emptyDatabase } from '../helpers/database';
import { join, PASSWORD, type SignedIn, signUp, toSignedIn } from '../helpers/people';
import { until } from '../helpers/until';
import { whoAmIService } from '../helpers/who-am-i';
import { describeWithKafka } from '../kafka/describe';
import { makeCarrier } from './kafka-carrier';

const FOLLOWERS = DOMAINS.filter(domain => domain !== 'users');
/** Milliseconds from the event until every instance refuses. */
const WITHIN = 3_000;

describeWithKafka('a session that ended', () => {
  const run = randomBytes(6).toString('hex');
  const sealKeys = [{ id: 'test', key: randomBytes(32) }];
  const jwt = { issuer: 'hiver', audience: 'hiver' };
  let users: App;
  let admin: SignedIn;
  /** Two of each domain. */
  const instances = new Map<Domain, App[]>();

  const start = (config: Partial<App['config']>) =>
    startApp(
      { mode: 'mesh', sealKeys, ...config, nodeId: `node-${randomBytes(4).toString('hex')}` },
      { services: [whoAmIService], makeCarrier: broker => makeCarrier(broker, run) },
    );
  /** @param like an instance of the domain that shares its databases and folders with it */
  const startFollower = (domain: Domain, like?: App) => {
    const jwksUrl = `${users.url}/.well-known/jwks.json`;
    const shared = like && { databaseUrls: like.config.databaseUrls, dataDir: like.config.dataDir };
    return start({ services: [domain, 'api'], jwt: { ...jwt, privateKeys: undefined, jwksUrl }, ...shared });
  };

  beforeAll(async () => {
    users = await start({ services: ['users', 'api'], jwt: { ...jwt, privateKeys: toPem(generateKey()), jwksUrl: undefined } });
    await Promise.all(
      FOLLOWERS.map(async domain => {
        const first = await startFollower(domain);
        instances.set(domain, [first, await startFollower(domain, first)]);
      }),
    );
    admin = await signUp(new Client(users.url));
    // Groups have been formed and read what there is.
    const probe = await newSession();
    await logout(probe);
    await until(() => isRefusedEverywhere(probe), { timeout: 60_000 });
  }, 120_000);

  const everywhere = (): [string, App][] => [
    ['users', users],
    ...[...instances].flatMap(([domain, apps]) => apps.map((app, nth): [string, App] => [`${domain} ${nth + 1}`, app])),
  ];

  const newSession = async (): Promise<SignedIn> => {
    const client = new Client(users.url);
    return toSignedIn(client, admin.email, await client.post('/auth/login', { email: admin.email, password: PASSWORD }));
  };
  const logout = async ({ client }: SignedIn) => {
    expect((await client.post('/auth/logout')).status).toBe(204);
  };

  const statusAt = async ({ url }: App, { accessToken }: SignedIn) =>
    (await fetch(`${url}/probe/who-am-i`, { headers: { authorization: `Bearer ${accessToken}` } })).status;
  const statuses = (session: SignedIn) =>
    Promise.all(everywhere().map(async ([name, app]) => [name, await statusAt(app, session)] as const));
  /** Names of the instances that refuse somebody. */
  const refusals = async (session: SignedIn) => (await statuses(session)).filter(([, status]) => status === 401);
  const isRefusedEverywhere = async (session: SignedIn) => (await refusals(session)).length === everywhere().length;
  const expectEverywhere = async (session: SignedIn, status: number) => {
    expect(await statuses(session)).toEqual(everywhere().map(([name]) => [name, status]));
  };

  it('by logout is refused by every instance of every domain within 3 s, and others go on', async () => {
    const [leaving, staying] = [await newSession(), await newSession()];
    await expectEverywhere(leaving, 200);
    await expectEverywhere(staying, 200);
    await logout(leaving);
    await until(() => isRefusedEverywhere(leaving), { timeout: WITHIN });
    await expectEverywhere(leaving, 401);
    await expectEverywhere(staying, 200);
  });

  it('by deactivation is refused by every instance of every domain within 3 s, and others go on', async () => {
    const second = await signUp(new Client(users.url));
    const sessions = [second, toSignedIn(second.client, second.email, await login(second))];
    for (const session of sessions) await expectEverywhere(session, 200);
    // Nobody locks the last administrator out: another one does.
    const colleague = await secondAdmin(second);
    expect((await colleague.client.post(`/users/${second.user.id}/deactivate`)).status).toBe(200);
    await until(async () => (await Promise.all(sessions.map(isRefusedEverywhere))).every(Boolean), { timeout: WITHIN });
    await expectEverywhere(colleague, 200);
  });

  it('while an instance was down is refused by it when it starts', async () => {
    const leaving = await newSession();
    const [, second] = instances.get('presence')!;
    await second!.stop();
    await logout(leaving);
    await until(async () => (await statusAt(instances.get('presence')![0]!, leaving)) === 401, { timeout: 10_000 });
    instances.get('presence')![1] = await startFollower('presence', second);
    await expectEverywhere(leaving, 401);
  });

  it('while a whole domain was down is refused by it soon after its start', async () => {
    const leaving = await newSession();
    const before = instances.get('tasks')!;
    for (const app of before) await app.stop();
    await logout(leaving);
    instances.set('tasks', [await startFollower('tasks', before[0])]);
    await until(() => isRefusedEverywhere(leaving), { timeout: 15_000 });
  });

  it('is refused again after a replay by a domain whose database was emptied', async () => {
    const [leaving, staying] = [await newSession(), await newSession()];
    await logout(leaving);
    await until(() => isRefusedEverywhere(leaving), { timeout: 10_000 });
    const before = instances.get('leave-requests')!;
    for (const app of before) await app.stop();
    await emptyDatabase(before[0]!.config.databaseUrls['leave-requests']!);
    const again = await startFollower('leave-requests', before[0]);
    instances.set('leave-requests', [again]);
    await until(async () => (await statusAt(again, leaving)) === 200);
    await replay(again.broker, 'leave-requests');
    await expectEverywhere(leaving, 401);
    await expectEverywhere(staying, 200);
  });

  const login = ({ email }: SignedIn) => new Client(users.url).post('/auth/login', { email, password: PASSWORD });

  /** Somebody who was invited as an administrator, and accepted. */
  function secondAdmin(first: SignedIn): Promise<SignedIn> {
    return join(first, instances.get('notifications')![0]!.config.dataDir, { role: 'ADMIN' });
  }
});
