import { batch } from '../../mixins/db/batch';
import { type Queryable, statement } from '../../mixins/db/statement';
import type { DataOf } from '../../mixins/events/event';
import type { notificationsSend } from './notifications.contract';
import type { Telling } from './notifications.rules';

interface Told extends Telling {
  userIds: readonly string[];
}

/**
 * Writes down what is to be told to whom, and by which channels; whoever was told under this key already is passed over.
 */
export const newNotifications = batch<Told>(
  'notifications.insert',
  `insert into deliveries (id, company_id, notification_id, channel)
   select uuidv7(), told.company_id, told.id, unnest(asked.channels)
   from told join (
     select distinct on (user_id, "dedupeKey", "companyId") "companyId", "dedupeKey", user_id, channels
     from jsonb_to_recordset($rows::jsonb) as row("companyId" uuid, "dedupeKey" text, "userIds" uuid[], channels text[])
     cross join unnest("userIds") as user_id
   ) asked on asked."companyId" = told.company_id and asked."dedupeKey" = told.dedupe_key and asked.user_id = told.user_id`,
  {
    told: `insert into notifications (id, company_id, user_id, kind, params, urgent, dedupe_key, sealed, expires_at)
      select uuidv7(), "companyId", user_id, kind, params, urgent, "dedupeKey", sealed, "expiresAt"
      from jsonb_to_recordset($rows::jsonb) as row("companyId" uuid, kind text, params jsonb, urgent boolean, "dedupeKey" text,
        sealed text, "expiresAt" timestamptz, "userIds" uuid[])
      cross join unnest("userIds") as user_id
      order by user_id
      on conflict (company_id, user_id, dedupe_key) do nothing
      returning company_id, id, user_id, dedupe_key`,
  },
);

const listAtWork = statement<{ companyId: string; role?: string; teamId?: string }, { id: string }>(
  'notifications.listAtWork',
  `select id from user_infos
   where company_id = $companyId and status = 'ACTIVE' and removed_at is null
     and ($role::text is null or role = $role) and ($teamId::uuid is null or $teamId = any(team_ids))`,
);

/**
 * Ids of those whom a `notifications.send` means. People named are taken as they are: whoever is not known here yet is
 * waited for. A team, a role and everyone are those at work as far as this node knows.
 */
export async function findRecipients(on: Queryable, asked: DataOf<typeof notificationsSend>): Promise<string[]> {
  const { to, companyId } = asked;
  if ('userIds' in to) return to.userIds;
  const people = await listAtWork.all(on, { companyId, ...('everyone' in to ? {} : to) });
  return people.map(({ id }) => id);
}
