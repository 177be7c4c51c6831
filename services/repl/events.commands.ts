import type { CallingOptions } from 'moleculer';
import { DOMAINS, type Domain } from '../../mixins/config';
import {
  type DomainStatus,
  type GivenUp,
  LONG,
  operatorContracts,
  type Retried,
  type Verified,
} from '../../mixins/operators/operators.contract';
import { type Asked, type Command, domainOf, type Outcome, UsageError } from './command';
import { isNotThere, toMessage } from './failures';
import { columns, count } from './print';

/** It goes through all that a domain has. */
const patient: CallingOptions = { timeout: LONG };

const status: Command = {
  usage: 'events status [domain]',
  about: 'outbox, lease, lag and dead letters of one domain, or of all',
  most: 1,
  async run({ broker, operator, args: [word] }) {
    const ask = (domain: Domain) => operatorContracts(domain).status.call(broker, { operator });
    if (word !== undefined) {
      const found = await ask(domainOf(word));
      return {
        json: found,
        text: [statusTable([found]), lease(found), lagTable([found], ({ end }) => end > 0)].join('\n\n').trimEnd(),
      };
    }
    const all = await Promise.all(DOMAINS.map(domain => ask(domain).catch((error: unknown) => ({ domain, error }))));
    const found = all.filter(each => 'node' in each);
    const failed = all.filter(each => 'error' in each);
    const notes = failed.map(({ domain, error }) => `${domain}: ${toMessage(error)}`);
    return {
      json: all.map(each => ('error' in each ? { domain: each.domain, error: toMessage(each.error) } : each)),
      text: [statusTable(found), lagTable(found, ({ lag }) => lag > 0), notes.join('\n')].filter(Boolean).join('\n\n'),
      // A mesh need not have every domain.
      isFailure: found.length === 0 || failed.some(({ error }) => !isNotThere(error)),
    };
  },
};

function lease({ lease: { node, epoch, expiresAt }, topics }: DomainStatus): string {
  const publisher = node
    ? `${node} publishes its outbox: epoch ${epoch}, lease until ${expiresAt}`
    : 'Nobody publishes its outbox';
  return `${publisher}. It follows ${topics.toSorted().join(', ') || 'nothing'}.`;
}

function statusTable(all: readonly DomainStatus[]): string {
  if (all.length === 0) return '';
  const rows = all.map(each => [
    each.domain,
    each.node,
    each.carrier,
    each.unpublished,
    each.unpublished > 0 ? `${each.oldestUnpublishedAge.toFixed(1)} s` : '-',
    each.refused,
    each.lease.node ? `${each.lease.node} (${each.lease.epoch})` : 'nobody',
    each.waitsFor.length > 0 ? `waits for ${each.waitsFor.join(', ')}` : each.isConsuming ? 'yes' : 'no',
    each.lag ? each.lag.reduce((sum, { lag }) => sum + lag, 0) : 'unknown',
    each.deadLetters,
    each.parked,
  ]);
  const head = [
    'DOMAIN',
    'ANSWERED BY',
    'CARRIER',
    'OUTBOX',
    'OLDEST',
    'REFUSED',
    'LEASE (EPOCH)',
    'CONSUMES',
    'LAG',
    'DEAD',
    'PARKED',
  ];
  const unknown = all.flatMap(({ domain, lagError }) => (lagError ? [`\nLag of ${domain} is unknown: ${lagError}`] : []));
  return columns(head, rows) + unknown.join('');
}

function lagTable(all: readonly DomainStatus[], isShown: (lag: { lag: number; end: number }) => boolean): string {
  const rows = all.flatMap(({ domain, lag }) =>
    (lag ?? []).filter(isShown).map(({ place, position, end, lag: behind }) => [domain, place, position, end, behind]),
  );
  return rows.length > 0 ? columns(['GROUP', 'PLACE', 'POSITION', 'END', 'LAG'], rows) : '';
}

const dead: Command = {
  usage: 'events dead <domain>',
  about: 'events that its handlers or the carrier gave up; the oldest hundred',
  most: 1,
  async run({ broker, operator, args: [word] }) {
    const domain = domainOf(word);
    const found = await operatorContracts(domain).dead.call(broker, { operator });
    return { json: found, text: deadTable(domain, found) };
  },
};

function deadTable(domain: Domain, { deadLetters, refused, totals }: GivenUp): string {
  const letters = deadLetters.map(({ eventId, service, kind, topic, key, tries, failedAt, error }) => [
    eventId,
    `${service} (${kind})`,
    topic,
    key,
    tries,
    failedAt,
    error,
  ]);
  const rows = refused.map(({ eventId, topic, key, refusedAt, error }) => [eventId, topic, key, refusedAt, error]);
  const more = (shown: number, total: number) => (total > shown ? `\n… and ${total - shown} more` : '');
  const parts = [
    letters.length > 0 &&
      columns(['DEAD LETTER', 'HANDLER', 'TOPIC', 'KEY', 'TRIES', 'FAILED AT', 'ERROR'], letters) +
        more(letters.length, totals.deadLetters),
    rows.length > 0 && columns(['REFUSED', 'TOPIC', 'KEY', 'AT', 'ERROR'], rows) + more(rows.length, totals.refused),
  ].filter(part => part !== false);
  return parts.join('\n\n') || `${domain} has given up no event.`;
}

const retry: Command = {
  usage: 'events retry <domain> [id…]',
  about: 'tries those of `events dead` once more, or all of them',
  async run({ broker, operator, args: [word, ...ids] }) {
    const domain = domainOf(word);
    const wrong = ids.find(id => id.length > 200);
    if (wrong !== undefined) throw new UsageError(`${wrong.slice(0, 40)}… is no id of an event.`);
    const retried = await operatorContracts(domain).retry.call(
      broker,
      { operator, ids: ids.length > 0 ? ids : undefined },
      patient,
    );
    return { json: retried, text: toText(retried), isFailure: retried.dead > 0 || retried.unknown.length > 0 };
  },
};

function toText({ done, dead: still, restored, unknown }: Retried): string {
  const lines = [
    done + still > 0 && `${count(done, 'dead letter')} went well, ${still} failed again.`,
    restored > 0 && `${count(restored, 'refused event')} wait in the outbox again.`,
    ...unknown.map(id => `There is no dead letter and no refused event ${id}.`),
  ].filter(line => line !== false);
  return lines.join('\n') || 'There is nothing to try again.';
}

const replay: Command = {
  usage: 'events replay <domain>',
  about: 'fills its copies again from the log; nobody is written to',
  most: 1,
  async run({ broker, operator, args: [word] }) {
    const domain = domainOf(word);
    const { read, failed } = await operatorContracts(domain).replay.call(broker, { operator }, patient);
    const leftOut = failed > 0 ? ` ${count(failed, 'event')} could not be used; the log of the node names them.` : '';
    return { json: { read, failed }, text: `${count(read, 'event')} read into the copies of ${domain}.${leftOut}` };
  },
};

const republish: Command = {
  usage: 'events republish <domain> [--raise]',
  about: 'tells all that it owns once more; --raise after restoring a backup',
  options: ['--raise'],
  most: 1,
  async run({ broker, operator, args: [word], options }) {
    const raise = options.has('--raise');
    const domain = domainOf(word);
    const told = await operatorContracts(domain).republish.call(broker, { operator, raise }, patient);
    const lines = told.recorded.map(({ name, count: n }) => `${name}: ${count(n, 'state')} recorded again`);
    return { json: told, text: lines.join('\n') + (raise ? '\nVersions were raised.' : '') };
  },
};

const verify: Command = {
  usage: 'events verify <domain>',
  about: 'compares its copies with their owner',
  most: 1,
  async run({ broker, operator, args: [word] }: Asked): Promise<Outcome> {
    const domain = domainOf(word);
    const verified = await operatorContracts(domain).verify.call(broker, { operator }, patient);
    return { json: verified, text: verifiedTable(verified), isFailure: !verified.isSame };
  },
};

function verifiedTable({ copies, isSame }: Verified): string {
  const rows = copies.map(({ name, ownedBy, owner, replica, isSame: same }) => [
    name,
    ownedBy,
    owner.count,
    replica.count,
    owner.checksum.slice(0, 12),
    replica.checksum.slice(0, 12),
    same ? 'yes' : 'NO',
  ]);
  const table = columns(['COPY', 'OWNER', 'OWNED', 'COPIED', 'CHECKSUM OWNED', 'COPIED', 'SAME'], rows);
  const differing = copies.flatMap(({ name, differing: ids }) => ids.map(id => `  ${name} ${id}`));
  if (isSame) return table;
  return `${table}\n\nDiffering (events under way differ too, so verify again before you act):\n${differing.join('\n')}`;
}

export const eventsCommands = { status, dead, retry, replay, republish, verify };
