import type { MailTemplate } from './template';

/** To whoever signed their company up. */
export const welcomeMail: MailTemplate<object> = {
  en: ({ person, company }) => ({
    subject: `Welcome to Hiver, ${person.firstName}`,
    paragraphs: [
      `Hello ${person.firstName},`,
      `${company.name} is ready. You are its first administrator: invite your colleagues one by one, or import them from a file.`,
    ],
    notes: ['If you did not sign up, somebody gave your e-mail address by mistake; you can ignore this message.'],
  }),
  fr: ({ person, company }) => ({
    subject: `Bienvenue sur Hiver, ${person.firstName}`,
    paragraphs: [
      `Bonjour ${person.firstName},`,
      `Tout est prêt pour ${company.name}, que vous administrez : invitez vos collègues un par un, ou importez-les depuis un fichier.`,
    ],
    notes: [
      'Si cette inscription ne vient pas de vous, quelqu’un a donné votre adresse par erreur ; vous pouvez ignorer ce message.',
    ],
  }),
};
