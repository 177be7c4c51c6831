import type { Locale } from '../../../mixins/fields';
import type { MailContent } from '../../../mixins/mail/content';

/** What a template knows of whom it speaks to. */
interface MailContext<Params> {
  person: { firstName: string; lastName: string; timeZone: string };
  company: { name: string };
  params: Params;
  /** Full URL with the opened token, for kinds that have a link; empty otherwise. */
  link: string;
}

/** What a mail says, in each language that we write. Texts of users may be put in as they are. */
export type MailTemplate<Params> = Readonly<Record<Locale, (context: MailContext<Params>) => MailContent>>;
