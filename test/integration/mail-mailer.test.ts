import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { simpleParser } from 'mailparser';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createMailer, type Mailer, type OutgoingMail } from '../../mixins/mail/mailer';
import { MailServer, startMuteServer } from '../helpers/mail-server';
import { until } from '../helpers/until';

const options = { folder: '/nowhere', from: 'Hiver <no-reply@hiver.test>', host: 'app.hiver.test' };
const mailOf = (changes: Partial<OutgoingMail> = {}): OutgoingMail => ({
  id: '0198c0de-0000-7000-8000-000000000001',
  to: { name: 'Zoë Martin', address: 'zoe@example.com' },
  subject: 'Bienvenue à l’atelier',
  text: 'Écrit pour vous:\nhttps://app.example.com/accept-invite?token=abc_DEF-123\n',
  html: '<p>Écrit pour vous</p>',
  ...changes,
});
const verdict = (sending: Promise<string>) =>
  sending.then(
    () => 'SENT',
    (error: { verdict?: string }) => error.verdict ?? String(error),
  );

describe('mailer over SMTP', () => {
  let server: MailServer;
  let mailer: Mailer;
  beforeAll(async () => {
    server = await MailServer.start();
  });
  beforeEach(() => {
    mailer = createMailer({ ...options, smtpUrl: server.url });
  });
  afterEach(() => {
    mailer.close();
    server.onMail = () => 'accept';
    server.onRecipient = () => 'accept';
    server.received.length = 0;
    server.tried.length = 0;
  });

  it('sends text and HTML under the id of the notification', async () => {
    expect(await mailer.send(mailOf())).toContain('OK: taken');
    const [mail] = server.received;
    expect(mail).toMatchObject({ to: 'zoe@example.com', messageId: '<0198c0de-0000-7000-8000-000000000001@hiver.test>' });
    expect(mail?.parsed.subject).toBe('Bienvenue à l’atelier');
    expect(mail?.parsed.from?.text).toBe('"Hiver" <no-reply@hiver.test>');
    expect(mail?.parsed.text).toBe(mailOf().text);
    expect(mail?.parsed.html).toContain('<p>Écrit pour vous</p>');
    expect(mail?.parsed.headers.get('auto-submitted')).toBe('auto-generated');
  });

  it.each([
    'Zoë\r\nBcc: all@example.com',
    'Zoë", <all@example.com>, "',
    'Zoë <all@example.com>',
    'a@example.com, b@example.com',
    '=?utf-8?Q?x?= <all@example.com>',
  ])('takes the name %j for a name only', async name => {
    await mailer.send(mailOf({ to: { name, address: 'zoe@example.com' } }));
    const [mail] = server.received;
    expect(server.received).toHaveLength(1);
    expect(mail?.to).toBe('zoe@example.com');
    expect(mail?.parsed.bcc).toBeUndefined();
    expect(mail?.parsed.to).toMatchObject({ value: [{ address: 'zoe@example.com' }] });
  });

  it.each(['zoe@example.com, all@example.com', 'zoe@example.com\r\nRCPT TO:<all@example.com>', 'zoe', '', '<zoe@example.com'])(
    'sends nothing to the address %j',
    async address => {
      expect(await verdict(mailer.send(mailOf({ to: { name: 'Zoë', address } })))).toBe('REJECTED');
      expect(server.received).toEqual([]);
    },
  );

  it('keeps the subject in its header', async () => {
    await mailer.send(mailOf({ subject: 'Hello\r\nBcc: all@example.com\r\n\r\nbody' }));
    expect(server.received[0]?.parsed.bcc).toBeUndefined();
    expect(server.received[0]?.parsed.text).toBe(mailOf().text);
  });

  it('tells refusals for now from those for good', async () => {
    server.onRecipient = () => 450;
    expect(await verdict(mailer.send(mailOf()))).toBe('DEFERRED');
    server.onRecipient = () => 550;
    expect(await verdict(mailer.send(mailOf()))).toBe('REJECTED');
    server.onRecipient = () => 'accept';
    server.onMail = () => 451;
    expect(await verdict(mailer.send(mailOf()))).toBe('DEFERRED');
    server.onMail = () => 554;
    expect(await verdict(mailer.send(mailOf()))).toBe('REJECTED');
    server.onMail = () => 'accept';
    expect(await verdict(mailer.send(mailOf()))).toBe('SENT');
  });

  it('takes a mail for sent when the server hangs up after taking it', async () => {
    server.onMail = () => 'hang up';
    for (let i = 0; i < 3; i++) expect(await verdict(mailer.send(mailOf()))).toBe('SENT');
    expect(server.received).toHaveLength(3);
  });

  it('never sends a mail twice by itself when the connection is cut before the answer', async () => {
    server.onMail = () => 'hang';
    const sending = verdict(mailer.send(mailOf()));
    await until(() => server.tried.length === 1);
    await server.stop();
    await server.start();
    server.onMail = () => 'accept';
    expect(await sending).toBe('UNREACHABLE');
    expect(server.tried).toHaveLength(1);
  });

  it('does not wait for ever for a server that hangs', async () => {
    const hasty = createMailer({ ...options, smtpUrl: `${server.url}?socketTimeout=200` });
    server.onMail = () => 'hang';
    expect(await verdict(hasty.send(mailOf()))).toBe('UNREACHABLE');
    hasty.close();
  });

  it('lets go of what is being sent when it is closed', async () => {
    server.onMail = () => 'hang';
    const sending = verdict(mailer.send(mailOf()));
    await until(() => server.tried.length === 1);
    mailer.close();
    expect(await sending).toBe('UNREACHABLE');
  });

  it('cannot reach a server that is down, says nothing, or is too busy', async () => {
    const down = createMailer({ ...options, smtpUrl: 'smtp://127.0.0.1:1' });
    expect(await verdict(down.send(mailOf()))).toBe('UNREACHABLE');
    down.close();
    for (const greeting of ['', '421 too many connections\r\n', '554 go away\r\n', 'HTTP/1.1 400 Bad Request\r\n\r\n']) {
      const mute = await startMuteServer(greeting);
      const hasty = createMailer({ ...options, smtpUrl: `${mute.url}?greetingTimeout=200` });
      expect(await verdict(hasty.send(mailOf()))).toBe('UNREACHABLE');
      hasty.close();
      await mute.stop();
    }
  });

  it('repeats no address in what it says of a failure', async () => {
    server.onRecipient = () => 550;
    await expect(mailer.send(mailOf())).rejects.toThrow(/^(?!.*zoe@example\.com).*550/s);
  });
});

describe('mailer into files', () => {
  const folders: string[] = [];
  const dataDir = () => {
    folders.push(mkdtempSync(join(tmpdir(), 'hiver-mail-')));
    return folders.at(-1)!;
  };
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
  const fileMailer = (folder: string) => createMailer({ ...options, folder, smtpUrl: undefined });

  it('writes one file for each mail, named by its id, for the owner only', async () => {
    const folder = join(dataDir(), 'mail');
    expect(await fileMailer(folder).send(mailOf())).toBe(`${mailOf().id}.eml`);
    expect(readdirSync(folder)).toEqual([`${mailOf().id}.eml`]);
    expect(statSync(join(folder, `${mailOf().id}.eml`)).mode & 0o777).toBe(0o600);
    const mail = await simpleParser(readFileSync(join(folder, `${mailOf().id}.eml`)));
    expect(mail).toMatchObject({ messageId: '<0198c0de-0000-7000-8000-000000000001@hiver.test>', text: mailOf().text });
  });

  it('takes the domain of Message-IDs from the app where the sender has none', async () => {
    const folder = dataDir();
    await createMailer({ ...options, from: 'postmaster', folder, smtpUrl: undefined }).send(mailOf());
    expect(readFileSync(join(folder, `${mailOf().id}.eml`), 'utf8')).toContain(`Message-ID: <${mailOf().id}@app.hiver.test>`);
  });

  it('replaces the file when a mail is sent again, and what a crash left of it', async () => {
    const folder = join(dataDir(), 'mail');
    mkdirSync(folder);
    writeFileSync(join(folder, `.${mailOf().id}.eml.tmp`), 'half of a ma');
    await fileMailer(folder).send(mailOf());
    await fileMailer(folder).send(mailOf({ subject: 'Again' }));
    expect(readdirSync(folder)).toEqual([`${mailOf().id}.eml`]);
    expect((await simpleParser(readFileSync(join(folder, `${mailOf().id}.eml`)))).subject).toBe('Again');
  });

  it('waits for a folder that cannot be written', async () => {
    const folder = dataDir();
    writeFileSync(join(folder, 'mail'), 'a file in the way');
    expect(await verdict(fileMailer(join(folder, 'mail')).send(mailOf()))).toBe('UNREACHABLE');
  });
});
