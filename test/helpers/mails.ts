import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { simpleParser } from 'mailparser';
import { until } from './until';

export interface Mail {
  to: string;
  subject: string;
  text: string;
  html: string;
  messageId: string;
}

/** Every mail written so far. */
export async function readMails(dataDir: string): Promise<Mail[]> {
  const folder = join(dataDir, 'mail');
  const names = await readdir(folder).catch(() => []);
  const files = names.filter(name => name.endsWith('.eml'));
  return Promise.all(
    files.map(async name => {
      const mail = await simpleParser(await readFile(join(folder, name)));
      const to = Array.isArray(mail.to) ? mail.to[0] : mail.to;
      return {
        to: to?.value[0]?.address ?? '',
        subject: mail.subject ?? '',
        text: mail.text ?? '',
        html: mail.html || '',
        messageId: mail.messageId ?? '',
      };
    }),
  );
}

/** Waits for the mail to an address, and takes the newest one's link apart. */
export async function readMailLink(dataDir: string, address: string): Promise<{ mail: Mail; link: string; token: string }> {
  const mail = await until(async () =>
    (await readMails(dataDir)).find(each => each.to === address && each.text.includes('token=')),
  );
  const link = /https?:\/\/\S*token=[\w-]+/.exec(mail.text)?.[0] ?? '';
  return { mail, link, token: new URL(link).searchParams.get('token') ?? '' };
}
