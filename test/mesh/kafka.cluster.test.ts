import { type Admin, Kafka, logLevel } from 'kafkajs';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type App, startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { readMails } from '../helpers/mails';
import { type SignedIn, signUp, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';
import { type KafkaCluster, startKafkaCluster } from '../kafka/cluster';
import { describeWhereKafkaCanBeHad } from '../kafka/describe';

/** A leader that is gone is missed for some seconds, then the next is chosen. */
const RECOVERY = 60_000;

describeWhereKafkaCanBeHad('a cluster of three brokers', () => {
  let cluster: KafkaCluster;
  let app: App;
  let admin: SignedIn;
  let users: pg.Pool;

  beforeAll(async () => {
    cluster = await startKafkaCluster();
    app = await startApp({ kafka: { brokers: cluster.brokers, ssl: false, sasl: undefined } });
    users = new pg.Pool({ connectionString: app.config.databaseUrls.users, max: 1 });
    admin = await signUp(new Client(app.url));
    await until(async () => (await readMails(app.config.dataDir)).length === 1, { timeout: RECOVERY, what: 'The welcome' });
  }, 180_000);
  afterAll(async () => {
    await users?.end();
    await app?.stop();
    await cluster?.stop();
  });

  const invite = async (): Promise<string> => {
    const email = uniqueEmail('invited');
    const person = { firstName: 'In', lastName: 'Vited', email, role: 'EMPLOYEE' };
    const { status } = await admin.client.post('/users', person);
    expect(status).toBe(201);
    return email;
  };
  const isTold = async (email: string) => (await readMails(app.config.dataDir)).filter(({ to }) => to === email).length === 1;
  const unpublished = async () => {
    const { rows } = await users.query<{ count: string }>('select count(*) from outbox where published_at is null');
    return Number(rows[0]?.count);
  };

  const asAdmin = async <T>(work: (kafka: Admin) => Promise<T>): Promise<T> => {
    const kafka = new Kafka({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING }).admin();
    await kafka.connect();
    return work(kafka).finally(() => kafka.disconnect());
  };
  const isInStep = () =>
    asAdmin(async kafka => {
      const { topics } = await kafka.fetchTopicMetadata();
      return topics.every(({ partitions }) => partitions.every(({ isr, replicas }) => isr.length === replicas.length));
    });

  it('has every topic three times, two of which have to be in step, and never elects one that is not', async () => {
    await asAdmin(async kafka => {
      const names = (await kafka.listTopics()).filter(name => /^(users|teams|companies|sessions|notifications)\./.test(name));
      expect(names).toContain('users.create');
      const { topics } = await kafka.fetchTopicMetadata({ topics: names });
      for (const { partitions } of topics) {
        expect(partitions).toHaveLength(6);
        for (const { replicas } of partitions) expect(replicas).toHaveLength(3);
      }
      const configNames = ['min.insync.replicas', 'unclean.leader.election.enable'];
      const { resources } = await kafka.describeConfigs({
        includeSynonyms: false,
        resources: names.map(name => ({ type: 2, name, configNames })),
      });
      for (const { configEntries } of resources) {
        const values = Object.fromEntries(configEntries.map(entry => [entry.configName, entry.configValue]));
        expect(values).toEqual({ 'min.insync.replicas': '2', 'unclean.leader.election.enable': 'false' });
      }
    });
  });

  it('goes on delivering while one of them is gone', { timeout: 120_000 }, async () => {
    await cluster.kill(0);
    const emails = [await invite(), await invite(), await invite()];
    for (const email of emails) await until(() => isTold(email), { timeout: RECOVERY, what: 'The mail' });
    await cluster.restart(0);
    // Else the two that are killed next are the only ones that have everything, and nobody may lead without them.
    await until(isInStep, { timeout: RECOVERY, every: 500, what: 'Every broker in step' });
  });

  it('answers while two of them are gone, and delivers what was recorded when one is back', { timeout: 180_000 }, async () => {
    await Promise.all([cluster.kill(1), cluster.kill(2)]);
    const emails = [await invite(), await invite(), await invite()];
    expect(await unpublished()).toBeGreaterThan(0);
    await cluster.restart(1);
    for (const email of emails) await until(() => isTold(email), { timeout: RECOVERY, what: 'The mail' });
    await cluster.restart(2);
    expect(await unpublished()).toBe(0);
    expect(new Set((await readMails(app.config.dataDir)).map(({ messageId }) => messageId)).size).toBe(7);
  });
});
