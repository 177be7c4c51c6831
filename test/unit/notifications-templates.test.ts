import { describe, expect, it } from 'vitest';
import { LOCALES } from '../../mixins/fields';
import { render } from '../../mixins/mail/content';
import { KINDS } from '../../services/notifications/notifications.rules';

/** What each kind is shown with; a kind without a sample fails. */
const samples: Record<string, unknown> = {
  invite: { expiresAt: '2026-03-29T01:00:00.000Z' },
  welcome: {},
  announcement: { subject: 'Fire drill', text: 'On Monday at ten.\n\nPlease leave by the stairs.' },
};

const calm = { person: { firstName: 'Zoë', lastName: 'Martin', timeZone: 'Europe/Paris' }, company: { name: 'Atelier Lumière' } };
const evil = '"><img src=x onerror=alert(1)>\r\nBcc: all@example.com';
const hostile = { person: { firstName: evil, lastName: evil, timeZone: evil }, company: { name: evil } };

describe.each(Object.keys(KINDS))('mail %s', name => {
  const kind = KINDS[name]!;
  const link = kind.link ? `https://app.example.com${kind.link.path}?token=TOKEN` : '';
  const params = kind.params.parse(samples[name]) as never;

  it.each(LOCALES)('reads well in %s', locale => {
    const mail = render(kind.mail[locale]({ ...calm, params, link }), locale);
    expect(`${mail.subject}\n\n${mail.text}`).toMatchSnapshot('text');
    expect(mail.html).toMatchSnapshot('html');
  });

  it.each(LOCALES)('takes names in %s for text only', locale => {
    const mail = render(kind.mail[locale]({ ...hostile, params, link }), locale);
    expect(mail.subject).not.toMatch(/[\r\n]/);
    expect(mail.text).not.toMatch(/^Bcc:/m);
    expect(mail.html).not.toContain('<img');
  });

  it.each(LOCALES)('has the link whole, in both parts, in %s', locale => {
    if (!kind.link) return;
    const mail = render(kind.mail[locale]({ ...calm, params, link }), locale);
    expect(mail.text.split(/\s/)).toContain(link);
    expect(mail.html).toContain(`href="${link}"`);
  });
});
