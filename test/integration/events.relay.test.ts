import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import type { Carrier } from '../../mixins/events/carrier';
import { retryRefused } from '../../mixins/events/operators';
import type { OutboxRow } from '../../mixins/events/outbox';
import { recordAll } from '../../mixins/events/record';
import { refusedByCarrier, sendNext } from '../../mixins/events/sending';
import { eventLogStatus } from '../../mixins/events/status';
import { type Node, personCreated, savePerson, somePerson } from '../contract/carrier-node';
import { Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';

type Send = (rows: readonly OutboxRow[]) => Promise<void>;

/** A carrier whose log is elsewhere, as far as sending goes. */
class SendingCarrier implements Carrier {
  readonly name = 'sending';
  readonly isFencedByDatabase = false;
  readonly batches: OutboxRow[][] = [];

  constructor(private readonly accept: Send = async () => undefined) {}

  get sent(): string[] {
    return this.batches.flat().map(({ key }) => key);
  }

  publish: Carrier['publish'] = outbox =>
    sendNext(
      outbox,
      async rows => {
        await this.accept(rows);
        this.batches.push([...rows]);
      },
      { error: () => undefined },
    );

  attach = async () => undefined;
  detach = async () => undefined;
  replay = async () => undefined;
  start = async () => undefined;
  stop = async () => undefined;
  subscribe = () => ({ stop: async () => undefined });
}

async function startWith(carrier: Carrier): Promise<{ probe: Probe; node: Node }> {
  const probe = await Probe.make();
  const node = await probe.start({ only: 'owner', makeCarrier: () => carrier });
  return { probe, node };
}

async function recordMany(node: Node, count: number, firstName = ''): Promise<string[]> {
  const people = Array.from({ length: count }, () => somePerson({ firstName }));
  await node.owner.database.inTransaction(undefined, tx => recordAll(tx, personCreated, people));
  return people.map(({ id }) => id);
}

describe('the relay of a carrier whose log is elsewhere', () => {
  it('sends in order of recording, at most 500 rows and 512 kB at once', async () => {
    const carrier = new SendingCarrier();
    const { probe, node } = await startWith(carrier);
    const ids = [...(await recordMany(node, 1_200)), ...(await recordMany(node, 5, 'x'.repeat(200_000)))];
    await until(() => carrier.sent.length >= ids.length);
    expect(carrier.sent).toEqual(ids);
    const sizes = carrier.batches.map(batch => batch.reduce((sum, { envelope }) => sum + (envelope?.length ?? 0), 0));
    expect(Math.max(...carrier.batches.map(batch => batch.length))).toBe(500);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(512 * 1024);
    expect(await probe.count('owner', 'outbox where published_at is null')).toBe(0);
    expect(await probe.count('owner', 'outbox where position is not null')).toBe(0);
  });

  it('sends a transaction that commits late, although younger rows have left', async () => {
    const carrier = new SendingCarrier();
    const { probe, node } = await startWith(carrier);
    const [first] = (await recordMany(node, 1)) as [string];
    await until(() => carrier.sent.length === 1);
    const late = uuidv7();
    const slow = await probe.recordSlowly(late);
    const [fast] = (await recordMany(node, 1)) as [string];
    await until(() => carrier.sent.length === 2);
    await slow.commit();
    await until(() => carrier.sent.length === 3);
    expect(carrier.sent).toEqual([first, fast, late]);
  });

  it('halves a batch that is refused until the row at fault stands alone, and takes that one out', async () => {
    const carrier = new SendingCarrier(async rows => {
      if (rows.length > 40) throw refusedByCarrier('the batch is too large');
      if (rows.some(({ envelope }) => envelope?.includes('poison'))) throw refusedByCarrier('the record is invalid');
    });
    const { probe, node } = await startWith(carrier);
    const ids = await recordMany(node, 70);
    const [bad] = (await recordMany(node, 1, 'poison')) as [string];
    ids.push(...(await recordMany(node, 30)));
    await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0);
    expect(carrier.sent).toEqual(ids);
    expect((await probe.owner.query('select key, error from outbox_dead')).rows).toEqual([
      { key: bad, error: 'the record is invalid' },
    ]);
    expect(await eventLogStatus(node.broker, 'users')).toMatchObject([{ refused: 1, unpublished: 0 }]);

    await probe.owner.query(`update outbox_dead set envelope = replace(envelope, 'poison', 'cured')`);
    expect(await retryRefused(node.broker, 'users')).toBe(1);
    await until(() => carrier.sent.at(-1) === bad);
    expect(await eventLogStatus(node.broker, 'users')).toMatchObject([{ refused: 0, unpublished: 0 }]);
  });

  it('sends again what failed in passing', async () => {
    let failures = 3;
    const carrier = new SendingCarrier(async () => {
      if (failures-- > 0) throw new Error('the broker is away');
    });
    const { node } = await startWith(carrier);
    const ids = await recordMany(node, 3);
    await until(() => carrier.sent.length === 3);
    expect(carrier.sent).toEqual(ids);
  });

  it('marks nothing once another relay has the lease, and sends nothing more', async () => {
    const sending = Promise.withResolvers<void>();
    const acknowledged = Promise.withResolvers<void>();
    let sends = 0;
    const carrier = new SendingCarrier(async () => {
      sends++;
      sending.resolve();
      await acknowledged.promise;
    });
    const { probe, node } = await startWith(carrier);
    await recordMany(node, 600);
    await sending.promise;
    await probe.owner.query(
      `update relay_lease set owner = gen_random_uuid(), epoch = epoch + 1, expires_at = now() + interval '1 hour'`,
    );
    acknowledged.resolve();
    await until(() => !node.owner.relay.isLeader);
    expect(await probe.count('owner', 'outbox where published_at is null')).toBe(600);
    expect(sends).toBe(1);
  });

  it('waits for a lease before its first send when the one before it did not give the lease back', async () => {
    const carrier = new SendingCarrier();
    const probe = await Probe.make();
    const first = await probe.start({ only: 'owner' });
    await savePerson(first.owner.database);
    await until(() => first.owner.relay.isLeader);
    await probe.stop(first);
    await probe.owner.query(`update relay_lease set owner = gen_random_uuid(), expires_at = '-infinity'`);

    const second = await probe.start({ only: 'owner', makeCarrier: () => carrier });
    await savePerson(second.owner.database);
    await until(() => second.owner.relay.isLeader);
    const taken = performance.now();
    await until(() => carrier.sent.length > 0, { timeout: 10_000 });
    expect(performance.now() - taken).toBeGreaterThan(4_500);

    await probe.stop(second);
    const next = new SendingCarrier();
    const third = await probe.start({ only: 'owner', makeCarrier: () => next });
    await savePerson(third.owner.database);
    await until(() => next.sent.length > 0, { timeout: 1_000 });
  });
});
