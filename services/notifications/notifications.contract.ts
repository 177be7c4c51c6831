import * as z from 'zod';
import { Role } from '../../mixins/contract';
import { event } from '../../mixins/events/event';
import { Id } from '../../mixins/fields';

/** What other services ask to be told: to whom, which kind, with which words. */
export const notificationsSend = event('notifications.send', {
  kind: 'fact',
  data: z.object({
    companyId: Id,
    /** Name of a template. */
    kind: z.string().max(64),
    to: z.union([
      z.object({ userIds: z.array(Id).min(1) }),
      z.object({ teamId: Id }),
      z.object({ role: Role }),
      z.object({ everyone: z.literal(true) }),
    ]),
    params: z.record(z.string(), z.unknown()).default({}),
    urgent: z.boolean().default(false),
    /** Two events with one key notify once. */
    dedupeKey: z.string().min(1).max(200),
    /** A link token, sealed for the mail of this one person. */
    sealed: z.string().max(1_000).nullish(),
  }),
  key: data => data.dedupeKey,
  company: data => data.companyId,
  version: () => 0,
});
