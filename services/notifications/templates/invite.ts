import { formatInstant } from '../../../mixins/mail/content';
import type { MailTemplate } from './template';

/** To somebody whom an ADMIN invited or imported: the way in. */
export const inviteMail: MailTemplate<{ expiresAt: string }> = {
  en: ({ person, company, params, link }) => ({
    subject: `${company.name} invites you to Hiver`,
    paragraphs: [
      `Hello ${person.firstName},`,
      `${company.name} organises its work with Hiver and invites you to join. Choose a password, and you are in.`,
    ],
    button: { label: 'Accept the invitation', url: link },
    notes: [
      `The link works once, until ${formatInstant(params.expiresAt, person.timeZone, 'en')}.`,
      'If you do not know why you got this message, ignore it: nothing happens without you.',
    ],
  }),
  fr: ({ person, company, params, link }) => ({
    subject: `${company.name} vous invite sur Hiver`,
    paragraphs: [
      `Bonjour ${person.firstName},`,
      `${company.name} organise son travail avec Hiver et vous y invite. Choisissez un mot de passe pour y entrer.`,
    ],
    button: { label: 'Accepter l’invitation', url: link },
    notes: [
      `Ce lien fonctionne une seule fois, jusqu’au ${formatInstant(params.expiresAt, person.timeZone, 'fr')}.`,
      'Si vous ne savez pas pourquoi vous recevez ce message, ignorez-le : rien ne se passera sans vous.',
    ],
  }),
};
