import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { CommandContext } from '../../mixins/contract';
import { type Envelope, event, MAX_EVENT_BYTES } from '../../mixins/events/event';
import { record, recordAll } from '../../mixins/events/record';
import { recording } from '../../mixins/events/recording';
import { Instant } from '../../mixins/fields';
import { companyId, type Node, personCreated, savePerson, somePerson } from '../contract/carrier-node';
import { Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';

const ID = '0198c0de-0000-7000-8000-0000000000aa';
const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

const command = { requestID: 'request-1', headers: { traceparent: TRACEPARENT } } as unknown as CommandContext;

async function owner(): Promise<{ probe: Probe; database: Node['owner']['database']; envelopes(): Promise<Envelope[]> }> {
  const probe = await Probe.make();
  const node = await probe.start({ only: 'owner' });
  return { probe, database: node.owner.database, envelopes: () => envelopesOf(probe.owner) };
}

async function envelopesOf(pool: pg.Pool): Promise<Envelope[]> {
  const { rows } = await pool.query<{ envelope: string }>('select envelope from outbox order by seq');
  return rows.map(({ envelope }) => JSON.parse(envelope));
}

describe('record', () => {
  it('writes a CloudEvents envelope, with the request that it goes back to', async () => {
    const { probe, database, envelopes } = await owner();
    const person = somePerson();
    await database.inTransaction(command, tx => record(tx, personCreated, { ...person, password: 'hunter2' } as never));
    const [envelope] = await envelopes();
    expect(envelope).toEqual({
      specversion: '1.0',
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
      source: '/users',
      type: 'users.create',
      subject: person.id,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      datacontenttype: 'application/json',
      dataschema: 'urn:hiver:users.create:1',
      companyid: companyId,
      version: 1,
      requestid: 'request-1',
      traceparent: TRACEPARENT,
      data: person,
    });
    const { rows } = await probe.owner.query('select id, topic, key, company_id, version, compacted from outbox');
    expect(rows).toEqual([
      { id: envelope?.id, topic: 'users.create', key: person.id, company_id: companyId, version: 1, compacted: true },
    ]);
  });

  it('refuses data that breaks the contract, and with it the change', async () => {
    const { database, envelopes } = await owner();
    const broken = database.inTransaction(undefined, tx =>
      record(tx, personCreated, { ...somePerson(), version: 'one' } as never),
    );
    await expect(broken).rejects.toThrow(/version/);
    expect(await envelopes()).toEqual([]);
  });

  it('takes 256 kB and refuses one byte more with EVENT_TOO_LARGE', async () => {
    const { database, envelopes } = await owner();
    const person = somePerson();
    const save = (firstName: string) =>
      database.inTransaction(undefined, tx => record(tx, personCreated, { ...person, firstName }));
    await save('');
    const [empty] = await envelopes();
    const room = MAX_EVENT_BYTES - Buffer.byteLength(JSON.stringify(empty));
    await save('x'.repeat(room));
    await expect(save('x'.repeat(room + 1))).rejects.toMatchObject({ code: 413, type: 'EVENT_TOO_LARGE' });
    // Bytes count, not characters.
    await expect(save('é'.repeat(room / 2 + 1))).rejects.toMatchObject({ code: 413, type: 'EVENT_TOO_LARGE' });
    expect(await envelopes()).toHaveLength(2);
  });

  it('tells of text that PostgreSQL takes in no other column', async () => {
    const { database, envelopes } = await owner();
    const firstName = 'a\u0000"\\{},\n\u2028é𝄞';
    await database.inTransaction(undefined, tx =>
      recordAll(tx, personCreated, [somePerson({ firstName }), somePerson({ firstName })]),
    );
    expect((await envelopes()).map(({ data }) => (data as { firstName: string }).firstName)).toEqual([firstName, firstName]);
  });
});

describe('recordAll', () => {
  it('records 10,000 people in their order', async () => {
    const { database, envelopes } = await owner();
    const people = Array.from({ length: 10_000 }, (_, n) => somePerson({ firstName: `Nr ${n}` }));
    await database.inTransaction(undefined, tx => recordAll(tx, personCreated, people));
    await database.inTransaction(undefined, tx => recordAll(tx, personCreated, []));
    expect((await envelopes()).map(({ subject }) => subject)).toEqual(people.map(({ id }) => id));
  });
});

const Punch = z.object({
  id: z.guid(),
  userId: z.guid(),
  companyId: z.guid(),
  at: Instant,
  leftAt: Instant.nullable(),
  day: z.iso.date(),
  place: z.string().nullable(),
  version: z.int(),
});

const punched = event('presence.checked-in', { kind: 'fact', data: Punch, key: data => data.userId });

const insertPunches = recording<
  { ids: string[]; place: string | null },
  typeof Punch,
  z.output<typeof Punch> & { secret: string }
>(
  punched,
  'punches.insert',
  `insert into punches (id, user_id, company_id, at, day, place, secret)
   select id, '${ID}', '${companyId}', '2026-03-29 01:00:00.5+00', '2026-03-29', $place, 'hunter2' from unnest($ids::uuid[]) as id
   returning id, user_id as "userId", company_id as "companyId", at, left_at as "leftAt", day, place, secret, version`,
);

const leavePunch = recording<{ id: string }, typeof Punch>(
  punched,
  'punches.leave',
  `update punches set version = version + 1, left_at = '2026-03-29 09:30:00+00' where id = $id
   returning id, user_id as "userId", company_id as "companyId", at, left_at as "leftAt", day, place, version`,
);

async function punchClock() {
  const made = await owner();
  await made.probe.owner.query(
    `create table punches (id uuid primary key, user_id uuid not null, company_id uuid not null, at timestamptz(3) not null,
       left_at timestamptz(3), day date not null, place text, secret text, version integer not null default 1)`,
  );
  return made;
}

describe('recording', () => {
  it('changes the row and records the same envelope that record() would, in one statement', async () => {
    const { probe, database, envelopes } = await punchClock();
    const row = await insertPunches.one(database, command, { ids: [ID], place: 'Gate "A"' });
    const data = {
      id: ID,
      userId: ID,
      companyId,
      at: '2026-03-29T01:00:00.500Z',
      leftAt: null,
      day: '2026-03-29',
      place: 'Gate "A"',
      version: 1,
    };
    expect(row).toEqual({ ...data, secret: 'hunter2' });
    await database.inTransaction(command, tx => record(tx, punched, data));
    const [fast, slow] = (await envelopes()) as [Envelope, Envelope];
    expect(fast).toEqual({ ...slow, id: fast.id, time: fast.time });
    expect(fast.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    const { rows } = await probe.owner.query('select topic, key, company_id, version, compacted from outbox order by seq');
    expect(rows[0]).toEqual(rows[1]);
    expect(punched.data.parse(fast.data)).toEqual(data);
  });

  it('records an event of every row, and none where nothing changed', async () => {
    const { database, envelopes } = await punchClock();
    const ids = [ID, '0198c0de-0000-7000-8000-0000000000ab'];
    await insertPunches.all(database, undefined, { ids, place: null });
    expect(await leavePunch.maybe(database, undefined, { id: companyId })).toBeUndefined();
    await expect(leavePunch.one(database, undefined, { id: companyId })).rejects.toThrow('punches.leave changed no row');
    expect(await leavePunch.one(database, undefined, { id: ID })).toMatchObject({
      version: 2,
      leftAt: '2026-03-29T09:30:00.000Z',
    });
    const all = await envelopes();
    expect(all.map(({ data, version }) => [(data as { id: string }).id, version])).toEqual([
      [ids[0], 1],
      [ids[1], 1],
      [ID, 2],
    ]);
    expect(new Set(all.map(({ id }) => id)).size).toBe(3);
  });

  it('leaves neither row nor event when one of them cannot be', async () => {
    const { probe, database, envelopes } = await punchClock();
    const place = 'x'.repeat(MAX_EVENT_BYTES);
    const large = insertPunches.one(database, undefined, { ids: [ID], place });
    await expect(large).rejects.toMatchObject({ code: 413, type: 'EVENT_TOO_LARGE' });
    await insertPunches.one(database, undefined, { ids: [ID], place: null });
    await expect(insertPunches.one(database, undefined, { ids: [ID], place: null })).rejects.toMatchObject({ code: 409 });
    const rolledBack = database.inTransaction(undefined, async tx => {
      await leavePunch.one(tx, undefined, { id: ID });
      throw new Error('changed my mind');
    });
    await expect(rolledBack).rejects.toThrow('changed my mind');
    expect(await envelopes()).toHaveLength(1);
    expect(await probe.count('owner', 'punches where left_at is null')).toBe(1);
  });

  it('cannot be declared for a key that is computed', () => {
    const computed = event('punches.computed', { kind: 'fact', data: Punch, key: data => `${data.userId}:${data.day}` });
    expect(() => recording(computed, 'punches.computed', 'select')).toThrow('computes its key');
  });
});

describe('waking the relay', () => {
  it('publishes at once what is committed here, by whichever way', async () => {
    const { probe, database } = await punchClock();
    const published = async () => (await probe.count('owner', 'outbox where published_at is null')) === 0;
    await until(published);
    // Within less than the second that the relay waits by itself.
    for (let nth = 1; nth <= 3; nth++) {
      await savePerson(database);
      await until(published, { timeout: 500, every: 5 });
      await insertPunches.all(database, undefined, { ids: [crypto.randomUUID()], place: null });
      await until(published, { timeout: 500, every: 5 });
      await database.inTransaction(undefined, tx =>
        insertPunches.all(tx, undefined, { ids: [crypto.randomUUID()], place: null }),
      );
      await until(published, { timeout: 500, every: 5 });
    }
  });

  it('tells the relay of another process, with less notices than events', async () => {
    const { probe } = await owner();
    const second = await probe.start({ only: 'owner' });
    const listener = await probe.owner.connect();
    let notices = 0;
    listener.on('notification', ({ payload }) => {
      if (payload === 'recorded') notices++;
    });
    await listener.query('listen hiver_outbox');
    await Promise.all(Array.from({ length: 100 }, () => savePerson(second.owner.database)));
    await until(async () => (await probe.count('owner', 'outbox where published_at is null')) === 0, { timeout: 900 });
    expect(second.owner.relay.isLeader).toBe(false);
    await until(() => notices > 0);
    expect(notices).toBeLessThan(100);
    listener.release(true);
  });
});
