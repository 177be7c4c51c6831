import { Errors, type ServiceBroker, type ServiceSchema } from 'moleculer';
import type { Domain } from '../config';
import { type ActionContract, action } from '../contract';
import { commonProblems } from '../errors';
import type { Hub } from '../events/hub';
import { listHubs } from '../events/hubs';
import { listDead, listRefused, replayDomain, retryDead, retryRefused } from '../events/operators';
import { type Aggregates, republish } from '../events/republish';
import { eventLogStatus } from '../events/status';
import { readStored } from '../events/stored';
import type { ReplicaTable } from '../replica/tables';
import { readOwner, verifyReplica } from '../replica/verify';
import { logged } from './operator-log';
import { LONG, operatorContracts } from './operators.contract';

/** Not among the problems that the API's documentation lists: no client ever meets it. */
const refuse = (message: string) => new Errors.MoleculerClientError(message, 409, 'OPERATORS_REFUSED');

type Copied = { id: string; companyId: string; version: number };

/** What a domain has that operators may ask for beside its event log. */
export interface OperatorOptions {
  /** Aggregates that others keep copies of, by name. */
  owns?: Readonly<Record<string, Aggregates>>;
  /** Copies that the domain keeps, by the name that their owner gives the aggregates. */
  copies?: { owner: Domain; tables: Readonly<Record<string, ReplicaTable<Copied>>> };
}

const MOST_ERROR = 500;

/**
 * The service through which operators ask a domain, on any node of the mesh: `users.events.status`,
 * `presence.events.replay` … It works on the domain's end of the event log in its process, and leaves a row in the
 * domain's `operator_log` for whatever it is asked.
 */
export function operators(domain: Domain, { owns = {}, copies }: OperatorOptions = {}): ServiceSchema {
  const contracts = operatorContracts(domain);
  const summary = 'For operators';
  const note = <T>(
    broker: ServiceBroker,
    { name }: ActionContract,
    { operator, ...args }: { operator: string },
    work: (hub: Hub) => Promise<T>,
  ) => {
    const hub = openHub(broker, domain);
    return logged(hub.database, { operator, command: name, arguments: args }, () => work(hub));
  };

  const schema = {
    name: 'events',
    version: domain,
    metadata: { description: `The end of the event log that ${domain} has, for operators.` },
    actions: {
      status: action(contracts.status, {
        summary,
        auth: 'internal',
        handler: ctx =>
          note(ctx.broker, contracts.status, ctx.params, async () => {
            const [status] = await eventLogStatus(ctx.broker, domain);
            if (!status) throw commonProblems.UNAVAILABLE();
            return { ...status, node: ctx.broker.nodeID };
          }),
      }),

      dead: action(contracts.dead, {
        summary,
        auth: 'internal',
        handler: ctx =>
          note(ctx.broker, contracts.dead, ctx.params, async hub => ({
            deadLetters: (await listDead(ctx.broker, domain, ctx.params.limit)).map(shorten),
            refused: (await listRefused(ctx.broker, domain, ctx.params.limit)).map(shorten),
            totals: await readStored(hub.connections),
          })),
      }),

      retry: action(contracts.retry, {
        summary,
        auth: 'internal',
        timeout: LONG,
        handler: ctx =>
          note(ctx.broker, contracts.retry, ctx.params, async hub => {
            assertConsuming(hub);
            const { ids } = ctx.params;
            const unknown = ids ? await unknownAmong(ids, ctx.broker, domain) : [];
            const { done, dead } = await retryDead(ctx.broker, domain, ids);
            const restored = await retryRefused(ctx.broker, domain, ids);
            return { done, dead, restored, unknown };
          }),
      }),

      replay: action(contracts.replay, {
        summary,
        auth: 'internal',
        timeout: LONG,
        handler: ctx =>
          note(ctx.broker, contracts.replay, ctx.params, async hub => {
            assertConsuming(hub);
            if (!hub.handlers.some(({ isReplica }) => isReplica)) throw refuse(`${domain} keeps no copies`);
            return replayDomain(ctx.broker, domain);
          }),
      }),

      republish: action(contracts.republish, {
        summary,
        auth: 'internal',
        timeout: LONG,
        handler: ctx =>
          note(ctx.broker, contracts.republish, ctx.params, async () => {
            const { raise } = ctx.params;
            if (Object.keys(owns).length === 0) throw refuse(`${domain} owns nothing that others keep copies of`);
            const recorded: { name: string; count: number }[] = [];
            for (const [name, aggregates] of Object.entries(owns)) {
              // Once is enough: whoever begins again meanwhile meets all of them.
              const restart = raise && recorded.length === 0;
              recorded.push({ name, count: await republish(ctx.broker, domain, aggregates, { raise, restart }) });
            }
            return { recorded };
          }),
      }),

      verify: action(contracts.verify, {
        summary,
        auth: 'internal',
        timeout: LONG,
        handler: ctx =>
          note(ctx.broker, contracts.verify, ctx.params, async () => {
            if (!copies) throw refuse(`${domain} keeps no copies`);
            const { owner, tables } = copies;
            const { operator } = ctx.params;
            const { page } = operatorContracts(owner);
            const verified = [];
            for (const [name, table] of Object.entries(tables)) {
              const read = (after: string | undefined) => page.call(ctx, { operator, of: name, after }) as never;
              const replica = { domain, table };
              verified.push({ name, ownedBy: owner, ...(await verifyReplica(ctx.broker, read, replica)) });
            }
            return { isSame: verified.every(({ isSame }) => isSame), copies: verified };
          }),
      }),

      page: action(contracts.page, {
        summary,
        auth: 'internal',
        handler: ctx =>
          note(ctx.broker, contracts.page, ctx.params, async () => {
            const { of, after } = ctx.params;
            const aggregates = owns[of];
            if (!aggregates) throw refuse(`${domain} owns no ${of}`);
            return readOwner(ctx.broker, domain, aggregates as never, after) as never;
          }),
      }),
    },
  };
  return schema as unknown as ServiceSchema;
}

/** The domain's end of the event log; while it is being made, or replaced, nobody can be told anything. */
function openHub(broker: ServiceBroker, domain: Domain): Hub {
  const hub = listHubs(broker).find(({ outbox }) => outbox.name === domain);
  if (!hub) throw commonProblems.UNAVAILABLE({ retryAfter: 1 });
  return hub;
}

function assertConsuming(hub: Hub): void {
  if (hub.isConsuming) return;
  const reason = hub.missing.length > 0 ? `it waits for ${hub.missing.join(', ')}` : 'it is not ready';
  throw refuse(`${hub.outbox.name} consumes no events at the moment: ${reason}`);
}

/** Which ids are those of neither a dead letter nor a refused event. */
async function unknownAmong(ids: readonly string[], broker: ServiceBroker, domain: Domain): Promise<string[]> {
  const givenUp = [...(await listDead(broker, domain, 10_000)), ...(await listRefused(broker, domain, 10_000))];
  const known = new Set(givenUp.map(({ eventId }) => eventId));
  return ids.filter(id => !known.has(id));
}

/** An answer between nodes is a message of bounded size. */
function shorten<T extends { error: string }>(given: T): T {
  return { ...given, error: given.error.slice(0, MOST_ERROR) };
}
