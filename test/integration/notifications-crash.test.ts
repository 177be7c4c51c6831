import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Config } from '../../mixins/config';
import { testConfig } from '../helpers/app';
import { MailServer } from '../helpers/mail-server';
import { readMails } from '../helpers/mails';
import { NotificationsDatabase } from '../helpers/notifications';
import type { NodeInput } from '../helpers/notifications-node';
import { until } from '../helpers/until';

const MAILS = 100;
/** After a crash another node goes on when the claims have run out, which takes 10 s. */
const TAKEN_OVER = 40_000;

const nodes = new Set<ChildProcess>();
afterEach(async () => {
  for (const node of nodes) await kill(node);
});

async function startNode(config: Config): Promise<ChildProcess> {
  const node = spawn(process.execPath, ['--import', 'tsx', resolve('test/helpers/notifications-node.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  nodes.add(node);
  const input: NodeInput = { config };
  node.stdin?.end(JSON.stringify(input));
  await once(node.stdout!, 'data');
  return node;
}

/** kill -9: nothing of the process's own is run any more. */
async function kill(node: ChildProcess): Promise<void> {
  nodes.delete(node);
  if (node.exitCode !== null || node.signalCode !== null) return;
  node.kill('SIGKILL');
  await once(node, 'exit');
}

async function fill(config: Config): Promise<{ db: NotificationsDatabase; addresses: string[] }> {
  const db = new NotificationsDatabase(config.databaseUrls.notifications!);
  await db.addCompany();
  const people = await Promise.all(Array.from({ length: MAILS }, () => db.addPerson()));
  await Promise.all(people.map(person => db.addNotification(person.id)));
  return { db, addresses: people.map(({ email }) => email).sort() };
}

describe('kill -9 while mails go out', () => {
  it('leaves exactly one file for each, after three crashes', { timeout: 120_000 }, async () => {
    const config = await testConfig({ services: ['notifications'] });
    const { db, addresses } = await fill(config);
    const written = () => readdirSync(join(config.dataDir, 'mail')).filter(name => name.endsWith('.eml')).length;
    for (const some of [10, 30, 60]) {
      const node = await startNode(config);
      await until(() => written() >= some, { timeout: TAKEN_OVER, every: 1 });
      await kill(node);
    }
    expect(written()).toBeLessThan(MAILS);
    await startNode(config);
    await until(async () => (await db.countByStatus()).SENT === MAILS, { timeout: TAKEN_OVER });
    expect((await readMails(config.dataDir)).map(({ to }) => to).sort()).toEqual(addresses);
  });

  it('doubles over SMTP only what the server had taken before the crash', { timeout: 120_000 }, async () => {
    const server = await MailServer.start();
    const config = await testConfig({ services: ['notifications'], smtpUrl: server.url });
    const { db, addresses } = await fill(config);
    const takenAndNotNoted = new Set<string>();
    for (const some of [10, 30, 60]) {
      const node = await startNode(config);
      await until(() => server.received.length >= some, { timeout: TAKEN_OVER, every: 1 });
      await kill(node);
      await until(() => server.connections === 0);
      const open = new Set(
        (await db.deliveries()).filter(({ status }) => status !== 'SENT').map(row => `<${row.notification_id}@hiver.test>`),
      );
      for (const { messageId } of server.received) if (open.has(messageId)) takenAndNotNoted.add(messageId);
    }
    await startNode(config);
    await until(async () => (await db.countByStatus()).SENT === MAILS, { timeout: TAKEN_OVER });
    const ids = server.received.map(({ messageId }) => messageId);
    const doubles = ids.filter((id, index) => ids.indexOf(id) !== index);
    expect(new Set(ids).size).toBe(MAILS);
    expect([...new Set(server.received.map(({ to }) => to))].sort()).toEqual(addresses);
    expect(doubles.filter(id => !takenAndNotNoted.has(id))).toEqual([]);
    // Five connections, three crashes.
    expect(takenAndNotNoted.size).toBeLessThanOrEqual(15);
    await server.stop();
  });

  it('is taken over by another node that is running', { timeout: 60_000 }, async () => {
    const server = await MailServer.start();
    const config = await testConfig({ services: ['notifications'], smtpUrl: server.url });
    const { db } = await fill(config);
    server.onMail = () => 'hang';
    const first = await startNode(config);
    await until(() => server.tried.length === 5);
    server.onMail = () => 'accept';
    const second = await startNode(config);
    await kill(first);
    expect((await db.deliveries()).filter(({ claimed_by }) => claimed_by !== null).length).toBeGreaterThanOrEqual(5);
    await until(async () => (await db.countByStatus()).SENT === MAILS, { timeout: TAKEN_OVER });
    expect(second.exitCode).toBeNull();
    expect(server.received).toHaveLength(MAILS);
    await server.stop();
  });
});
