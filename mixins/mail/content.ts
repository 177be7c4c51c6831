import { LOCALES, type Locale } from '../fields';
import { type Html, html } from './html';

/** What a mail says: plain text only. How it looks, and that nothing in it is taken for markup, is decided here. */
export interface MailContent {
  subject: string;
  paragraphs: readonly string[];
  /** The one thing to do, after the paragraphs. `url` is ours, never a user's. */
  button?: { label: string; url: string };
  /** Small print after the button. */
  notes?: readonly string[];
}

export interface RenderedMail {
  subject: string;
  text: string;
  html: string;
}

const FOOTERS: Readonly<Record<Locale, string>> = {
  en: 'This message was sent by Hiver. Please do not reply to it.',
  fr: 'Ce message a été envoyé par Hiver. Merci de ne pas y répondre.',
};

/** The first of the wished-for languages that we write; English when there is none. */
export function chooseLocale(...wished: readonly (string | null | undefined)[]): Locale {
  return (wished.find(wish => LOCALES.some(locale => locale === wish)) as Locale | undefined) ?? 'en';
}

/**
 * Text as it may stand in a mail: on one line, without characters that turn the direction of writing, and without
 * addresses of pages. A name is text that strangers choose, and a mail program would make a link of it that seems ours.
 */
export function plain(text: string): string {
  return (
    text
      .replace(/[\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '')
      .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
      .replaceAll('://', ': //')
      // An encoded word (RFC 2047) would be decoded by whoever reads the header.
      .replaceAll('=?', '= ?')
      .toWellFormed()
      .trim()
  );
}

/**
 * An instant as people of that zone read it, such as "Sunday, 29 March 2026 at 03:00 CEST". A zone that this machine
 * does not know is shown as UTC.
 */
export function formatInstant(instant: string, timeZone: string, locale: Locale): string {
  const parts = formatIn(timeZone, locale).formatToParts(new Date(instant));
  // French counts the first of the month, and no other day; Intl does not.
  return parts.map(({ type, value }) => (locale === 'fr' && type === 'day' && value === '1' ? '1er' : value)).join('');
}

function formatIn(timeZone: string, locale: Locale): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat(locale === 'fr' ? 'fr-FR' : 'en-GB', {
      weekday: 'long',
      day: 'numeric',
      month: 'long',
      year: 'numeric',
      hour: '2-digit',
      minute: '2-digit',
      timeZone,
      timeZoneName: 'short',
    });
  } catch {
    return formatIn('UTC', locale);
  }
}

/**
 * Makes a mail of what it says: the same words as text and as HTML that the common mail programs show alike. Whatever
 * templates put in of users' texts is made `plain` and escaped here, so that no template can forget it.
 */
export function render(content: MailContent, locale: Locale): RenderedMail {
  const said: MailContent = {
    subject: plain(content.subject).slice(0, 200).toWellFormed(),
    paragraphs: content.paragraphs.map(plain),
    button: content.button,
    notes: content.notes?.map(plain),
  };
  return { subject: said.subject, text: toText(said, locale), html: toHtml(said, locale).source };
}

function toText({ paragraphs, button, notes = [] }: MailContent, locale: Locale): string {
  const colon = locale === 'fr' ? '\u00a0:' : ':';
  const action = button ? [`${button.label}${colon}\n${button.url}`] : [];
  return `${[...paragraphs, ...action, ...notes, `-- \n${FOOTERS[locale]}`].join('\n\n')}\n`;
}

const PARAGRAPH = 'margin:0 0 16px;font:16px/24px Arial,Helvetica,sans-serif;color:#1f2933';
const SMALL = 'margin:0 0 8px;font:13px/20px Arial,Helvetica,sans-serif;color:#616e7c';
const BUTTON =
  'display:inline-block;padding:12px 24px;font:bold 16px/20px Arial,Helvetica,sans-serif;color:#ffffff;text-decoration:none';

// Tables and inline styles: Outlook lays mails out with Word, and Gmail drops style sheets.
function toHtml({ subject, paragraphs, button, notes = [] }: MailContent, locale: Locale): Html {
  return html`<!doctype html>
<html lang="${locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${subject}</title>
</head>
<body style="margin:0;padding:0;background:#f5f7fa">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"><tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="560" cellpadding="0" cellspacing="0" border="0" style="max-width:560px;width:100%;background:#ffffff"><tr><td style="padding:32px">
${paragraphs.map(text => html`<p style="${PARAGRAPH}">${text}</p>\n`)}${button ? toButton(button) : ''}${notes.map(
  text => html`<p style="${SMALL}">${text}</p>\n`,
)}</td></tr></table>
<p style="${SMALL};padding-top:16px">${FOOTERS[locale]}</p>
</td></tr></table>
</body>
</html>
`;
}

function toButton({ label, url }: { label: string; url: string }): Html {
  return html`<table role="presentation" cellpadding="0" cellspacing="0" border="0" style="margin:0 0 24px"><tr><td style="background:#1f5fbf"><a href="${url}" style="${BUTTON}">${label}</a></td></tr></table>
<p style="${SMALL};word-break:break-all">${url}</p>
`;
}
