import type { ServiceSchema } from 'moleculer';
import { describe, expect, it } from 'vitest';
import { eventLog } from '../../mixins/events/events.mixin';
import { reaction } from '../../mixins/events/reaction';
import { companyId, followerDomain, greet, greeted, personCreated, savePerson, somePerson } from '../contract/carrier-node';
import { Lines, Probe } from '../contract/carrier-probe';
import { until } from '../helpers/until';

describe('a durable handler', () => {
  it('has its service as this, and the event and its transaction in the context', async () => {
    const probe = await Probe.make();
    const seen: unknown[] = [];
    const node = await probe.start({ only: 'owner' });
    const { id } = await savePerson(node.owner.database);
    const listening = {
      name: 'listening',
      mixins: [eventLog(followerDomain)],
      events: {
        'users.greeted': reaction(greeted, {
          async handler(this: { name: string }, ctx) {
            const { service, eventName, requestID, locals } = ctx;
            seen.push([this.name, service?.name, eventName, requestID, ctx.params.data.userId, locals.tx.database]);
          },
        }),
      },
    };
    node.broker.createService(listening as unknown as ServiceSchema);
    await greet(node.owner.database, id);
    await until(() => seen.length > 0);
    const { rows } = await probe.owner.query(`select envelope::json->>'requestid' as requestid from outbox order by seq`);
    expect(seen).toEqual([['listening', 'listening', 'users.greeted', expect.any(String), id, 'notifications']]);
    expect(rows[1].requestid).toBeNull();
  });

  it('says loudly, and does nothing, when its event is emitted on Moleculer’s own bus', async () => {
    const probe = await Probe.make();
    const log = new Lines();
    const { broker } = await probe.start({ log });
    const person = somePerson();
    const envelope = { id: person.id, type: 'users.create', subject: person.id, companyid: companyId, data: person };
    await broker.emit('users.create', envelope);
    await until(
      () => log.all.filter(line => line.startsWith(`error 'users.create' was emitted on Moleculer's bus`)).length === 2,
    );
    expect(await probe.effects()).toEqual([]);
    expect(await probe.replicas()).toEqual([]);
  });

  it('cannot stand under the name of another topic', async () => {
    const probe = await Probe.make();
    const { broker } = await probe.start({ only: 'owner' });
    const misnamed = {
      name: 'misnamed',
      mixins: [eventLog(followerDomain)],
      events: { 'users.greeted': reaction(personCreated, { handler: async () => undefined }) },
    };
    const errors: unknown[] = [];
    broker.localBus.on('$broker.error', ({ error }: { error: unknown }) => errors.push(error));
    const service = broker.createService(misnamed as unknown as ServiceSchema);
    await until(() => errors.length > 0);
    expect(String(errors[0])).toContain(`'users.greeted' of misnamed is handled by the contract of 'users.create'`);
    await broker.destroyService(service);
  });
});

describe('a service that comes, goes and comes back', () => {
  it('leaves nothing open when the last of its domain stops', async () => {
    const probe = await Probe.make();
    const node = await probe.start();
    const { id } = await savePerson(node.owner.database);
    await until(async () => (await probe.effects()).length === 1);
    await probe.stop(node);
    const sessions = `select application_name from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
    for (const database of ['owner', 'follower'] as const) {
      await until(async () => (await probe[database].query(sessions)).rows.length === 0);
    }
    const again = await probe.start();
    await greet(again.owner.database, id);
    await until(async () => (await probe.effects()).length === 2);
  });
});
