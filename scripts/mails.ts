/**
 * Prints the mails that were written to files instead of being sent, decoded, the newest first.
 *
 *     npm run mails                         all of them
 *     npm run mails -- camille@example.com  those to that address
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type AddressObject, simpleParser } from 'mailparser';
import { parseConfig } from '../mixins/config';

const addressesOf = (field: AddressObject | AddressObject[] | undefined) => [field ?? []].flat().map(({ text }) => text);

/** Paths of the mails in a folder, the newest first; none when there is no such folder. */
function listMails(folder: string): string[] {
  const names = readdirSync(folder, { withFileTypes: true }).filter(entry => entry.isFile() && /^[^.].*\.eml$/.test(entry.name));
  const written = names.map(({ name }) => ({ path: join(folder, name), at: statSync(join(folder, name)).mtimeMs }));
  return written.sort((a, b) => b.at - a.at || (a.path < b.path ? 1 : -1)).map(({ path }) => path);
}

function listMailsIfAny(folder: string): string[] {
  try {
    return listMails(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function main(wanted: string | undefined): Promise<void> {
  const folder = join(parseConfig(process.env).dataDir, 'mail');
  const word = wanted?.trim().toLowerCase();
  let printed = 0;
  for (const path of listMailsIfAny(folder)) {
    const mail = await simpleParser(readFileSync(path), { skipHtmlToText: true, skipTextToHtml: true });
    const to = addressesOf(mail.to).join(', ');
    if (word && !to.toLowerCase().includes(word)) continue;
    const head = [
      `From:    ${addressesOf(mail.from).join(', ')}`,
      `To:      ${to}`,
      `Subject: ${mail.subject ?? ''}`,
      `Date:    ${mail.date?.toISOString() ?? ''}`,
    ];
    // No mail may steer the terminal.
    const shown = `${head.join('\n')}\n\n${mail.text ?? ''}`.replace(/[^\P{Cc}\n\t]/gu, '');
    console.log(`${printed++ > 0 ? `${'-'.repeat(72)}\n` : ''}${shown.trimEnd()}`);
  }
  if (printed === 0) console.log(`No mails${word ? ` to ${word}` : ''} under ${folder} yet.`);
}

// `npm run mails | head` closes the pipe when it has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

main(process.argv[2]).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
