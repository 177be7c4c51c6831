import * as z from 'zod';

/** Building blocks of contracts: every string has a bound, every message says what is expected. */

/** An id of anything, UUIDv7 as we make them; any UUID is taken. */
export const Id = z
  .guid({ error: 'must be a UUID' })
  .max(36)
  .meta({ format: 'uuid', examples: ['0198c0de-0000-7000-8000-000000000001'] });

/** An instant: `2026-03-29T01:00:00.000Z`. */
export const Instant = z.iso
  .datetime({ error: 'must be an instant such as 2026-03-29T01:00:00.000Z' })
  .max(30)
  .meta({ examples: ['2026-03-29T01:00:00.000Z'] });

/** A day: `YYYY-MM-DD`, one that exists. */
export const Day = z.iso
  .date({ error: 'must be a day such as 2026-03-29' })
  .max(10)
  .refine(day => day >= '1900-01-01' && day < '2200-01-01', 'must be a day from 1900 to 2199')
  .meta({ examples: ['2026-03-29'] });

/** A line of text without control characters, trimmed; something of it can be seen. */
export const line = (max: number) =>
  z
    .string({ error: 'must be a text' })
    .trim()
    .min(1, { error: 'must not be empty', abort: true })
    .max(max, `must have at most ${max} characters`)
    // Nor what turns the direction of writing or breaks a line: what follows a name would read as something else.
    .regex(/^[^\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]*$/u, 'must not contain control characters')
    .regex(/[^\p{Cf}\p{Z}\p{M}]/u, 'must not be empty');

export const Email = z
  .string({ error: 'must be an e-mail address' })
  .trim()
  .max(254, 'must have at most 254 characters')
  .pipe(z.email({ error: 'must be an e-mail address' }))
  .meta({ format: 'email', maxLength: 254, examples: ['camille.moreau@example.com'] });

export const Phone = z
  .string({ error: 'must be a phone number' })
  .trim()
  .max(32, 'must have at most 32 characters')
  .regex(/^\+?[0-9][0-9 ().-]{3,30}$/, 'must be a phone number such as +33 6 12 34 56 78')
  .meta({ examples: ['+33 6 12 34 56 78'] });

const knownZones = new Map<string, boolean>();

/** Asking ICU takes 30 µs; an import asks once a row. The names that are kept are bounded, as callers make them up. */
function isTimeZone(name: string): boolean {
  const known = knownZones.get(name);
  if (known !== undefined) return known;
  const isZone = /^[A-Za-z]/.test(name) && canFormatIn(name);
  if (knownZones.size < 1_000) knownZones.set(name, isZone);
  return isZone;
}

function canFormatIn(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
    return true;
  } catch {
    return false;
  }
}

/** A zone of the IANA database. */
export const TimeZone = z
  .string({ error: 'must be a time zone' })
  .min(1, 'must be a time zone')
  .max(64, 'must have at most 64 characters')
  .refine(isTimeZone, 'must be a time zone such as Europe/Paris')
  .meta({ examples: ['Europe/Paris'] });

/** Languages that mails and pushes are written in. */
export const LOCALES = ['en', 'fr'] as const;
export const Locale = z.enum(LOCALES, { error: `must be one of ${LOCALES.join(', ')}` });
export type Locale = z.infer<typeof Locale>;

export const PictureUrl = z
  .url({ protocol: /^https$/, error: 'must be an https URL' })
  .max(2_048, 'must have at most 2048 characters')
  .meta({ examples: ['https://example.com/camille.jpg'] });

export const Version = z.int().min(1);
