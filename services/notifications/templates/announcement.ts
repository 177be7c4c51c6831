import type { MailTemplate } from './template';

const paragraphsOf = (text: string) => text.split(/\s*\n\s*/).filter(Boolean);

/** What a company wants to tell its people, in its own words. */
export const announcementMail: MailTemplate<{ subject: string; text: string }> = {
  en: ({ person, company, params }) => ({
    subject: params.subject,
    paragraphs: [`Hello ${person.firstName},`, ...paragraphsOf(params.text)],
    notes: [`${company.name} made this announcement.`],
  }),
  fr: ({ person, company, params }) => ({
    subject: params.subject,
    paragraphs: [`Bonjour ${person.firstName},`, ...paragraphsOf(params.text)],
    notes: [`${company.name} vous envoie cette annonce.`],
  }),
};
