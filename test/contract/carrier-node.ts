import { ServiceBroker, type ServiceSchema } from 'moleculer';
import { v7 as uuidv7 } from 'uuid';
import * as z from 'zod';
import { type Config, setConfig } from '../../mixins/config';
import { ContractValidator } from '../../mixins/contract';
import type { Database } from '../../mixins/db/database';
import type { DomainDatabase } from '../../mixins/db/db.mixin';
import { migration } from '../../mixins/db/migrations';
import { statement } from '../../mixins/db/statement';
import type { Transaction } from '../../mixins/db/transaction';
import type { Carrier } from '../../mixins/events/carrier';
import { useCarrier } from '../../mixins/events/carriers';
import type { RecordExtras } from '../../mixins/events/envelope';
import { type Envelope, event } from '../../mixins/events/event';
import { eventLog } from '../../mixins/events/events.mixin';
import type { Hub } from '../../mixins/events/hub';
import { hubOf, listHubs } from '../../mixins/events/hubs';
import { eventLogConstraints, eventLogMigrations } from '../../mixins/events/migrations';
import { reaction } from '../../mixins/events/reaction';
import { record } from '../../mixins/events/record';
import type { Aggregates } from '../../mixins/events/republish';
import type { Retention } from '../../mixins/events/retention';
import { type PersonState, replicaMigrations } from '../../mixins/replica/tables';
import { replica } from '../../mixins/replica.mixin';

/** What the module of a carrier exports. It is named by its path: processes that are killed load it too. */
interface CarrierModule {
  /** @param run unique for each test: what it leaves in a shared broker is not to be seen by the others */
  makeCarrier(broker: ServiceBroker, run: string): Carrier;
}

export interface Urls {
  /** Database of the domain that owns people. */
  owner: string;
  /** Database of the domain that follows them. */
  follower: string;
}

const Person = z.object({
  id: z.guid(),
  companyId: z.guid(),
  firstName: z.string(),
  lastName: z.string(),
  email: z.string(),
  role: z.string(),
  status: z.string(),
  teamIds: z.array(z.guid()),
  pictureUrl: z.string().nullable(),
  phone: z.string().nullable(),
  timeZone: z.string(),
  locale: z.string(),
  startsOn: z.iso.date().nullable(),
  version: z.int(),
});

export const personCreated = event('users.create', { kind: 'state', data: Person });
export const personUpdated = event('users.update', { kind: 'state', data: Person });
export const personRemoved = event('users.remove', {
  kind: 'fact',
  data: z.object({ id: z.guid(), companyId: z.guid(), version: z.int() }),
});
/** Something that happened to a person; `note` tells the handler what to do. */
export const greeted = event('users.greeted', {
  kind: 'fact',
  data: z.object({ userId: z.guid(), companyId: z.guid(), nth: z.int(), note: z.string().default('') }),
  key: data => data.userId,
  company: data => data.companyId,
  version: data => data.nth,
});

const ownerDomain: DomainDatabase = {
  name: 'users',
  migrations: [
    ...eventLogMigrations,
    migration('people', 'create table people (id uuid primary key, state jsonb not null, version integer not null)'),
  ],
  constraints: eventLogConstraints,
};

export const followerDomain: DomainDatabase = {
  name: 'notifications',
  migrations: [
    ...eventLogMigrations,
    ...replicaMigrations,
    migration(
      'effects',
      `create table effects (
         nth bigint generated always as identity, event_id text not null, topic text not null, key uuid not null,
         version integer not null, note text not null)`,
    ),
  ],
  constraints: {},
};

/** What reactions do beside leaving their row in `effects`. */
export type Behaviour = (envelope: Envelope<{ note?: string }>, tx: Transaction) => Promise<void> | void;

export interface NodeOptions {
  urls: Urls;
  /** Absolute path of a `CarrierModule`; the embedded carrier, as the application has it, unless told. */
  carrierModule?: string;
  run: string;
  /** Instead of the module's. */
  makeCarrier?: CarrierModule['makeCarrier'];
  /** Runs after the row was written, in the same transaction. */
  behaviour?: Behaviour;
  retention?: Partial<Retention>;
  /** Only the owner's services, or only the follower's. */
  only?: 'owner' | 'follower';
  /** A topic that the follower does not follow. */
  without?: string;
  log?: ServiceBroker['options']['logger'];
}

const insertEffect = statement<{ eventId: string; topic: string; key: string; version: number; note: string }>(
  'effects.insert',
  'insert into effects (event_id, topic, key, version, note) values ($eventId, $topic, $key, $version, $note)',
);

/** A process of the application as far as events go: a domain that owns people, and one that follows them. */
export class Node {
  private constructor(readonly broker: ServiceBroker) {}

  static async start(options: NodeOptions): Promise<Node> {
    const { urls, run, only } = options;
    const retention = { inboxDays: 30, outboxDays: 7, deadLetterDays: 90 };
    const config = { databaseUrls: { users: urls.owner, notifications: urls.follower }, retention } as Config;
    const broker = new ServiceBroker({
      nodeID: `node-${uuidv7()}`,
      logger: options.log ?? false,
      validator: new ContractValidator(),
      skipProcessEventRegistration: true,
      created: created => setConfig(created, config),
    });
    const module: Partial<CarrierModule> = options.carrierModule ? await import(options.carrierModule) : {};
    const makeCarrier = options.makeCarrier ?? module.makeCarrier;
    if (makeCarrier) useCarrier(broker, makeCarrier(broker, run));
    if (only !== 'follower') broker.createService(ownerService(options));
    for (const service of only === 'owner' ? [] : followerServices(options)) {
      if (options.without) delete service.events?.[options.without];
      broker.createService(service);
    }
    await broker.start();
    for (const { database } of listHubs(broker)) await database.whenReady();
    return new Node(broker);
  }

  get owner(): Hub {
    return hubOf(this.broker, 'users');
  }

  get follower(): Hub {
    return hubOf(this.broker, 'notifications');
  }

  stop(): Promise<void> {
    return this.broker.stop();
  }
}

function ownerService({ retention }: NodeOptions): ServiceSchema {
  return { name: 'users', mixins: [eventLog(ownerDomain, { retention })] };
}

/** Two services of one domain: the replica in one of them, a reaction to the same topic in the other. */
export function followerServices({ behaviour, retention }: Pick<NodeOptions, 'behaviour' | 'retention'>): ServiceSchema[] {
  const react = async (envelope: Envelope<{ note?: string }>, tx: Transaction) => {
    const { id: eventId, type: topic, subject: key, version, data } = envelope;
    await insertEffect.all(tx, { eventId, topic, key, version, note: data.note ?? '' });
    await behaviour?.(envelope, tx);
  };
  return [
    {
      name: 'replicas',
      mixins: [
        eventLog(followerDomain, { retention }),
        replica({ people: [personCreated, personUpdated], removed: { people: [personRemoved] } }),
      ],
      events: {
        // The same topic twice in one service: Moleculer makes one entry of both.
        'users.update': reaction(personUpdated, { handler: ctx => react(ctx.params as never, ctx.locals.tx) }),
      },
    },
    {
      name: 'notifications',
      mixins: [eventLog(followerDomain, { retention })],
      events: {
        'users.create': reaction(personCreated, { handler: ctx => react(ctx.params as never, ctx.locals.tx) }),
        'users.greeted': reaction(greeted, { handler: ctx => react(ctx.params, ctx.locals.tx) }),
      },
    },
  ];
}

export const companyId = '0198c0de-0000-7000-8000-000000000001';

export function somePerson(changes: Partial<PersonState> = {}): PersonState {
  return {
    id: uuidv7(),
    companyId,
    firstName: 'Camille',
    lastName: 'Moreau',
    email: 'camille@example.com',
    role: 'EMPLOYEE',
    status: 'ACTIVE',
    teamIds: [uuidv7()],
    pictureUrl: null,
    phone: null,
    timeZone: 'Europe/Paris',
    locale: 'fr',
    startsOn: '2026-03-29',
    version: 1,
    ...changes,
  };
}

const lockPerson = statement<{ id: string }, { state: PersonState }>(
  'people.lock',
  'select state from people where id = $id for update',
);

const writePerson = statement<{ id: string; state: string; version: number }>(
  'people.write',
  `insert into people (id, state, version) values ($id, $state, $version)
   on conflict (id) do update set state = excluded.state, version = excluded.version`,
);

/** The owner's command: makes a person, or changes one. */
export async function savePerson(
  database: Database,
  changes: Partial<PersonState> = {},
  extras?: RecordExtras,
): Promise<PersonState> {
  return database.inTransaction(undefined, tx => savePersonIn(tx, changes, extras));
}

export async function savePersonIn(
  tx: Transaction,
  changes: Partial<PersonState> = {},
  extras?: RecordExtras,
): Promise<PersonState> {
  const known = changes.id && (await lockPerson.maybe(tx, { id: changes.id }));
  const person = known ? { ...known.state, ...changes, version: known.state.version + 1 } : somePerson(changes);
  await writePerson.all(tx, { id: person.id, state: JSON.stringify(person), version: person.version });
  await record(tx, known ? personUpdated : personCreated, person, extras);
  return person;
}

export async function greet(database: Database, userId: string, nth = 1, note = '', extras?: RecordExtras): Promise<void> {
  await database.inTransaction(undefined, tx => record(tx, greeted, { userId, companyId, nth, note }, extras));
}

/** What happened that many hours ago. */
export function ago(hours: number): RecordExtras {
  return { time: new Date(Date.now() - hours * 3_600_000).toISOString() };
}

/** How the owner's people are read for republishing and verifying. */
export const people: Aggregates<typeof Person> = {
  contract: personCreated,
  page: async (tx, after, limit) => (await pageOfPeople.all(tx, { after, limit })).map(({ state }) => state),
  raise: async (tx, ids, by) => {
    await raisePeople.all(tx, { ids, by });
  },
};

const pageOfPeople = statement<{ after: string | undefined; limit: number }, { state: PersonState }>(
  'people.page',
  `select state from people where $after::uuid is null or id > $after order by id limit $limit for no key update`,
);

const raisePeople = statement<{ ids: readonly string[]; by: number }>(
  'people.raise',
  `update people set version = version + $by, state = jsonb_set(state, '{version}', to_jsonb(version + $by))
   where id = any($ids::uuid[])`,
);
