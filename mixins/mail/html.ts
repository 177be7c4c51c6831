/** HTML that needs no more escaping: literal text of ours, and values that were escaped. */
export class Html {
  constructor(readonly source: string) {}

  toString(): string {
    return this.source;
  }
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => ENTITIES[character] ?? character);
}

function toSource(value: string | Html | readonly Html[]): string {
  if (value instanceof Html) return value.source;
  return typeof value === 'string' ? escapeHtml(value) : (value as readonly Html[]).map(html => html.source).join('');
}

/**
 * Tag of templates: every value that is not `Html` itself is escaped, for text and for quoted attributes (OWASP's XSS
 * prevention rules). URLs among the values must be ours: a scheme is not looked at.
 */
export function html(strings: TemplateStringsArray, ...values: readonly (string | Html | readonly Html[])[]): Html {
  return new Html(strings.reduce((source, text, index) => source + toSource(values[index - 1] ?? '') + text));
}
