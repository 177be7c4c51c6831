import { mkdir, open, rename } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { SendMailOptions } from 'nodemailer';
import { plain, type RenderedMail } from './content';
import { toPlainReason, type Verdict, verdictOf } from './verdict';

/** A mail to one person. */
export interface OutgoingMail extends RenderedMail {
  /** Left part of its Message-ID: the same for every try, so that whoever gets it twice can tell. */
  id: string;
  to: { name: string; address: string };
}

/** A way for mails to leave. */
export interface Mailer {
  /**
   * @returns the server's answer, or the name of the file
   * @throws {MailFailure} with the verdict that says whether to try again
   */
  send(mail: OutgoingMail): Promise<string>;
  /** Ends the connections; with mails still being sent, their sending fails. */
  close(): void;
}

/** A mail that did not go; its message has no addresses in it. */
export class MailFailure extends Error {
  constructor(
    readonly verdict: Verdict,
    cause: unknown,
  ) {
    super(toPlainReason(cause), { cause });
    this.name = 'MailFailure';
  }
}

export interface MailerOptions {
  /** `smtp(s)://user:password@host:port`; nodemailer's options may follow as a query, and win over ours. */
  smtpUrl: string | undefined;
  /** Where mails are written as .eml files when there is no `smtpUrl`. */
  folder: string;
  /** `Name <address>`. */
  from: string;
  /** Right part of Message-IDs where the sender's address has no domain. */
  host: string;
}

/** Mails that are on their way at once. */
export const MAIL_CONNECTIONS = 5;

/** Milliseconds. The library waits for minutes, and for as long as a server trickles bytes. */
const CONNECT_TIMEOUT = 10_000;
const SILENCE_TIMEOUT = 60_000;
const SEND_TIMEOUT = 120_000;

/** Mails go to an SMTP server where there is one, into files otherwise. */
export function createMailer(options: MailerOptions): Mailer {
  const domain = /@([^\s<>@]+)>?\s*$/.exec(options.from)?.[1] ?? options.host;
  return options.smtpUrl ? smtpMailer(options.smtpUrl, options.from, domain) : fileMailer(options.folder, options.from, domain);
}

/** Loaded by whoever sends mails only. */
function nodemailer(): typeof import('nodemailer') {
  return createRequire(__filename)('nodemailer');
}

function smtpMailer(url: string, from: string, domain: string): Mailer {
  const transport = nodemailer().createTransport({
    url,
    pool: true,
    maxConnections: MAIL_CONNECTIONS,
    // A connection that the server closed meanwhile costs one more try; everything else is the caller's to repeat.
    maxRequeues: 1,
    connectionTimeout: CONNECT_TIMEOUT,
    greetingTimeout: CONNECT_TIMEOUT,
    dnsTimeout: CONNECT_TIMEOUT,
    socketTimeout: SILENCE_TIMEOUT,
  });
  return {
    async send(mail) {
      try {
        const message = { ...toMessage(mail, from, domain), signal: AbortSignal.timeout(SEND_TIMEOUT) };
        return (await transport.sendMail(message)).response;
      } catch (error) {
        throw error instanceof MailFailure ? error : new MailFailure(verdictOf(error), error);
      }
    },
    close: () => transport.close({ force: true }),
  };
}

function fileMailer(folder: string, from: string, domain: string): Mailer {
  const transport = nodemailer().createTransport({ streamTransport: true, buffer: true, newline: 'windows' });
  return {
    async send(mail) {
      try {
        const { message } = await transport.sendMail(toMessage(mail, from, domain));
        return await writeWhole(folder, mail.id, message as Buffer);
      } catch (error) {
        throw error instanceof MailFailure ? error : new MailFailure('UNREACHABLE', error);
      }
    },
    close: () => undefined,
  };
}

/**
 * Writes a mail so that its file is there whole or not at all, also after a loss of power. A repetition replaces it.
 * Only the owner may read it: it holds links that let their bearer in.
 */
async function writeWhole(folder: string, id: string, message: Buffer): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = `${id}.eml`;
  const temporary = join(folder, `.${name}.tmp`);
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(message);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, name));
  const entries = await open(folder, 'r');
  await entries.sync().finally(() => entries.close());
  return name;
}

/** One mailbox and nothing else: the library would mend some texts, and read others as several addresses. */
const ADDRESS = /^[^\s<>()[\]\\,;:"@]+@[^\s<>()[\]\\,;:"@]+$/;

function toMessage(mail: OutgoingMail, from: string, domain: string): SendMailOptions {
  if (!ADDRESS.test(mail.to.address)) throw new MailFailure('REJECTED', new Error('The address is none'));
  return {
    messageId: `<${mail.id}@${domain}>`,
    from,
    to: { name: plain(mail.to.name), address: mail.to.address },
    subject: mail.subject,
    text: mail.text,
    html: mail.html,
    // RFC 3834: no out-of-office answers, please.
    headers: { 'Auto-Submitted': 'auto-generated' },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}
