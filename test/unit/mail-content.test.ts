import { describe, expect, it } from 'vitest';
import { chooseLocale, formatInstant, plain, render } from '../../mixins/mail/content';
import { html } from '../../mixins/mail/html';

describe('html', () => {
  it('escapes every value for text and quoted attributes', () => {
    const evil = `"><script>alert('&')</script>`;
    expect(html`<p title="${evil}">${evil}</p>`.source).toBe(
      '<p title="&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;">&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</p>',
    );
  });

  it('leaves html inside html as it is, also in lists', () => {
    expect(html`<ul>${['a<', 'b'].map(item => html`<li>${item}</li>`)}</ul>`.source).toBe('<ul><li>a&lt;</li><li>b</li></ul>');
  });
});

describe('plain', () => {
  it('keeps what people are called', () => {
    expect(plain("  Zoë O'Šimić-Lefèvre 山田 👩‍🔧 ")).toBe("Zoë O'Šimić-Lefèvre 山田 👩‍🔧");
  });

  it('puts everything on one line', () => {
    expect(plain('a\r\nBcc: b@example.com\u2028c\0d')).toBe('a Bcc: b@example.com c d');
  });

  it('takes out what turns the direction of writing', () => {
    expect(plain('abc\u202etxt.exe\u2066x\u2069')).toBe('abctxt.exex');
  });

  it('breaks addresses of pages, so that no mail program makes a link of a name', () => {
    expect(plain('Win at https://evil.example/x')).toBe('Win at https: //evil.example/x');
  });

  it('repairs half characters', () => {
    expect(plain('a\ud83d')).toBe('a\ufffd');
  });
});

describe('chooseLocale', () => {
  it('takes the first language that we write', () => {
    expect(chooseLocale('fr', 'en')).toBe('fr');
    expect(chooseLocale('pt', 'fr')).toBe('fr');
  });

  it('falls back to English', () => {
    expect(chooseLocale('pt', null, undefined)).toBe('en');
    expect(chooseLocale()).toBe('en');
  });
});

describe('formatInstant', () => {
  it.each([
    ['2026-03-29T01:00:00.000Z', 'Europe/Paris', 'en', 'Sunday, 29 March 2026 at 03:00 CEST'],
    ['2026-03-29T00:59:00.000Z', 'Europe/Paris', 'fr', 'dimanche 29 mars 2026 à 01:59 UTC+1'],
    ['2026-11-01T05:30:00.000Z', 'America/New_York', 'fr', 'dimanche 1er novembre 2026 à 01:30 UTC−4'],
    ['2026-04-04T15:00:00.000Z', 'Australia/Lord_Howe', 'en', 'Sunday, 5 April 2026 at 01:30 GMT+10:30'],
  ] as const)('shows %s in %s to readers of %s', (instant, zone, locale, expected) => {
    expect(formatInstant(instant, zone, locale).replaceAll(/[\u00a0\u202f]/g, ' ')).toBe(expected);
  });

  it('shows UTC where the zone is not known', () => {
    expect(formatInstant('2026-03-29T01:00:00.000Z', 'Mars/Olympus', 'en')).toBe('Sunday, 29 March 2026 at 01:00 UTC');
  });
});

describe('render', () => {
  const content = {
    subject: 'Hello\r\nBcc: everybody@example.com',
    paragraphs: ['Dear <b>Bob</b> & "co"', 'See https://evil.example'],
    button: { label: 'Go', url: 'https://app.example/a?token=x&y=1' },
    notes: ['small'],
  };

  it('keeps the subject on one line and within bounds', () => {
    expect(render(content, 'en').subject).toBe('Hello Bcc: everybody@example.com');
    expect(render({ ...content, subject: 'é'.repeat(500) }, 'en').subject).toHaveLength(200);
  });

  it('says the same in text and in HTML, which is escaped', () => {
    const { text, html: source } = render(content, 'en');
    expect(text).toContain(
      'Dear <b>Bob</b> & "co"\n\nSee https: //evil.example\n\nGo:\nhttps://app.example/a?token=x&y=1\n\nsmall',
    );
    expect(source).toContain('Dear &lt;b&gt;Bob&lt;/b&gt; &amp; &quot;co&quot;');
    expect(source).toContain('<a href="https://app.example/a?token=x&amp;y=1"');
    expect(source).not.toContain('<b>');
    expect(source.match(/https:\/\/evil/)).toBeNull();
  });

  it('names the language that it is written in', () => {
    expect(render(content, 'fr').html).toContain('<html lang="fr">');
    expect(render(content, 'fr').text).toContain('Ce message a été envoyé par Hiver.');
  });
});
