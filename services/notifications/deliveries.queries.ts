import { type Queryable, statement } from '../../mixins/db/statement';
import type { UserStatus } from '../users/users.contract';
import type { Settlement } from './deliveries.rules';
import type { Channel } from './notifications.rules';

/** A delivery that this instance has claimed, with everything that sending it takes, as it is now. */
export interface DueDelivery {
  id: string;
  notificationId: string;
  channel: Channel;
  /** This one included. */
  tries: number;
  refusals: number;
  kind: string;
  params: unknown;
  sealed: string | null;
  createdAt: string;
  expiresAt: string | null;
  /** A later link of this kind was made for the person: this one leads nowhere. */
  isSuperseded: boolean;
  person: {
    id: string;
    firstName: string;
    lastName: string;
    email: string;
    status: UserStatus;
    timeZone: string;
    locale: string;
    removedAt: string | null;
  } | null;
  company: { name: string; locale: string } | null;
}

/**
 * Takes what is due, for this instance alone: a row that another is taking is passed over, one whose claim has run out
 * is free again. The one place that knows how work is shared.
 */
export function claimDeliveries(
  on: Queryable,
  claim: { owner: string; limit: number; leaseSeconds: number },
): Promise<DueDelivery[]> {
  return claimDue.all(on, claim);
}

const claimDue = statement<{ owner: string; limit: number; leaseSeconds: number }, DueDelivery>(
  'deliveries.claim',
  `with due as (
     select id from deliveries
     where status in ('PENDING', 'FAILED') and next_try_at <= now() and (claimed_until is null or claimed_until < now())
     order by next_try_at limit $limit
     for update skip locked
   ), claimed as (
     update deliveries d
     set claimed_by = $owner, claimed_until = now() + make_interval(secs => $leaseSeconds), tries = tries + 1
     from due where d.id = due.id
     returning d.*
   )
   select d.id, d.notification_id as "notificationId", d.channel, d.tries, d.refusals,
     n.kind, n.params, n.sealed, n.created_at as "createdAt", n.expires_at as "expiresAt",
     n.sealed is not null and exists (
       select from notifications later
       where later.company_id = n.company_id and later.user_id = n.user_id and later.kind = n.kind
         and later.expires_at > n.expires_at) as "isSuperseded",
     case when u.id is not null then json_build_object('id', u.id, 'firstName', u.first_name, 'lastName', u.last_name,
       'email', u.email, 'status', u.status, 'timeZone', u.time_zone, 'locale', u.locale, 'removedAt', u.removed_at) end as person,
     case when c.id is not null then json_build_object('name', c.name, 'locale', c.locale) end as company
   from claimed d
   join notifications n on n.company_id = d.company_id and n.id = d.notification_id
   left join user_infos u on u.company_id = n.company_id and u.id = n.user_id
   left join company_infos c on c.id = n.company_id`,
);

/** Keeps what this instance is sending from being taken by another. */
export const renewClaims = statement<{ owner: string; leaseSeconds: number }>(
  'deliveries.renew',
  `update deliveries set claimed_until = now() + make_interval(secs => $leaseSeconds)
   where claimed_by = $owner and status in ('PENDING', 'FAILED')`,
);

/**
 * Notes how a try ended. That something was sent is true whoever holds the claim by now; everything else is noted by
 * its holder only. A token that is not needed any more is forgotten.
 */
export const settleDelivery = statement<Settlement & { id: string; owner: string }>(
  'deliveries.settle',
  `with settled as (
     update deliveries
     set status = $status, reason = $reason, last_error = $error, provider_id = $providerId, refusals = refusals + $refused,
       next_try_at = now() + make_interval(secs => $delaySeconds), claimed_by = null, claimed_until = null,
       settled_at = case when $status in ('SENT', 'DEAD', 'SUPPRESSED') then now() end
     where id = $id and status in ('PENDING', 'FAILED') and ($status = 'SENT' or claimed_by = $owner)
     returning company_id, notification_id, status
   )
   update notifications n set sealed = null
   from settled s
   where n.company_id = s.company_id and n.id = s.notification_id and s.status in ('SENT', 'SUPPRESSED') and n.sealed is not null`,
);
