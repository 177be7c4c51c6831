import * as z from 'zod';
import type { DataOf } from '../../mixins/events/event';
import { Instant } from '../../mixins/fields';
import type { UserStatus, userCreated } from '../users/users.contract';
import type { notificationsSend } from './notifications.contract';
import { announcementMail } from './templates/announcement';
import { inviteMail } from './templates/invite';
import type { MailTemplate } from './templates/template';
import { welcomeMail } from './templates/welcome';

export type Channel = 'MAIL';

/** What is told to people, and how. */
interface Kind {
  params: z.ZodType;
  channels: readonly Channel[];
  /** Statuses of the people whom it may still be told by the time it is sent. */
  audience: readonly UserStatus[];
  /** A link with a sealed token: the page of the app that takes it, and the kind under which it was sealed. */
  link?: { path: string; sealedAs: 'INVITE' };
  mail: MailTemplate<never>;
}

const kind = <P extends z.ZodType>(
  definition: Omit<Kind, 'params' | 'mail'> & { params: P; mail: MailTemplate<z.output<P>> },
): Kind => definition;

/** Every kind of notification. A new one is a line here and a template. */
export const KINDS: Readonly<Record<string, Kind>> = {
  invite: kind({
    params: z.object({ expiresAt: Instant }),
    channels: ['MAIL'],
    audience: ['INVITED'],
    link: { path: '/accept-invite', sealedAs: 'INVITE' },
    mail: inviteMail,
  }),
  welcome: kind({ params: z.object({}), channels: ['MAIL'], audience: ['ACTIVE'], mail: welcomeMail }),
  announcement: kind({
    params: z.object({ subject: z.string().min(1).max(200), text: z.string().min(1).max(10_000) }),
    channels: ['MAIL'],
    audience: ['ACTIVE'],
    mail: announcementMail,
  }),
};

/** Something to be told, whoever it is told to. */
export interface Telling {
  companyId: string;
  kind: string;
  channels: readonly Channel[];
  params: unknown;
  urgent: boolean;
  dedupeKey: string;
  sealed: string | null;
  /** After this it is not worth telling. */
  expiresAt: string | null;
}

/** The kind of that name, or `undefined`: another node may be newer than this one. */
export function findKind(name: string): Kind | undefined {
  return Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
}

/**
 * What a `notifications.send` asks to tell.
 * @throws when there is no such kind, when its parameters are not as the kind wants them, or when a link is asked for
 * without its token or for more than one person: the event is for an operator to look at
 */
export function toTelling(asked: DataOf<typeof notificationsSend>): Telling {
  const known = findKind(asked.kind);
  if (!known) throw new Error(`There is no kind of notification named ${asked.kind}`);
  const params = known.params.parse(asked.params);
  const recipients = 'userIds' in asked.to ? asked.to.userIds.length : Number.POSITIVE_INFINITY;
  if (known.link && (!asked.sealed || recipients > 1)) {
    throw new Error(`A notification of kind ${asked.kind} has a sealed token and one recipient`);
  }
  return {
    companyId: asked.companyId,
    kind: asked.kind,
    channels: known.channels,
    params,
    urgent: asked.urgent,
    dedupeKey: asked.dedupeKey,
    sealed: (known.link && asked.sealed) || null,
    expiresAt: (params as { expiresAt?: string }).expiresAt ?? null,
  };
}

/** What a new person is told: their invitation, or that the company they signed up is ready; nothing in other cases. */
export function toWelcome(user: DataOf<typeof userCreated>): Telling | undefined {
  const common = { companyId: user.companyId, to: { userIds: [user.id] }, urgent: false, dedupeKey: `users.create:${user.id}` };
  if (user.invite) {
    const { sealed, expiresAt } = user.invite;
    return toTelling({ ...common, kind: 'invite', params: { expiresAt }, sealed });
  }
  return user.status === 'ACTIVE' ? toTelling({ ...common, kind: 'welcome', params: {} }) : undefined;
}
