import type { NodemailerError } from 'nodemailer/lib/errors';

/**
 * Why a mail did not go.
 * `UNREACHABLE`: the server could not be used at all; the mail itself was not judged, so waiting loses nothing.
 * `DEFERRED`: the server judged this mail and said "not now" (4xx).
 * `REJECTED`: the server, or the syntax of the address, says that it will never go (5xx).
 */
export type Verdict = 'UNREACHABLE' | 'DEFERRED' | 'REJECTED';

/** Commands whose answer is about this mail. One to EHLO, AUTH or MAIL FROM is about us, and alike for every mail. */
const ABOUT_THE_MAIL = new Set(['RCPT TO', 'DATA']);
/** The server closes the channel (RFC 5321, 4.2.2), whatever command it answers that to. */
const CLOSING = 421;

/**
 * Reads a failure of nodemailer's SMTP transport by RFC 5321: only a reply to RCPT TO or DATA is a verdict about the
 * mail. A wrong password (535) or a sender that is not allowed (550 to MAIL FROM) is a mistake in the configuration,
 * and must delay mails rather than lose them.
 */
export function verdictOf(error: unknown): Verdict {
  const { code, command, responseCode, permanent } = error as Partial<NodemailerError>;
  const isRefusal = code === 'EENVELOPE' || code === 'EMESSAGE';
  if (isRefusal && command === 'API') return 'REJECTED';
  if (!isRefusal || responseCode === undefined || responseCode === CLOSING || !ABOUT_THE_MAIL.has(command ?? '')) {
    return 'UNREACHABLE';
  }
  return permanent ? 'REJECTED' : 'DEFERRED';
}

/** What a server said, fit for logs and tables: without addresses, which it likes to repeat, and bounded. */
export function toPlainReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message
    .replace(/[^\s<>"'():,;]+@[^\s<>"'():,;]+/g, '(address)')
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, 500);
}
