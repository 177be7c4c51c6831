import { describe, expect, it } from 'vitest';
import { toPlainReason, verdictOf } from '../../mixins/mail/verdict';

const failure = (code: string, command: string, responseCode?: number) =>
  Object.assign(new Error('no'), {
    code,
    command,
    responseCode,
    permanent: responseCode !== undefined && responseCode >= 500 && responseCode !== 503,
  });

describe('verdictOf', () => {
  it.each([
    ['nobody listens', failure('ESOCKET', 'CONN'), 'UNREACHABLE'],
    ['the server hangs', failure('ETIMEDOUT', 'CONN'), 'UNREACHABLE'],
    ['the name is not known', failure('EDNS', 'CONN'), 'UNREACHABLE'],
    ['the certificate is not trusted', failure('ETLS', 'CONN'), 'UNREACHABLE'],
    ['the server is closing, whatever the command', failure('EENVELOPE', 'RCPT TO', 421), 'UNREACHABLE'],
    ['the password is wrong', failure('EAUTH', 'AUTH PLAIN', 535), 'UNREACHABLE'],
    ['our sender is not allowed', failure('EENVELOPE', 'MAIL FROM', 550), 'UNREACHABLE'],
    ['the disk of the server is full', failure('EENVELOPE', 'MAIL FROM', 452), 'UNREACHABLE'],
    ['the sending took too long', Object.assign(new Error('x'), { code: 'EABORT' }), 'UNREACHABLE'],
    ['the disk here is full', Object.assign(new Error('x'), { code: 'ENOSPC' }), 'UNREACHABLE'],
    ['the mailbox is busy', failure('EENVELOPE', 'RCPT TO', 450), 'DEFERRED'],
    ['the message is greylisted', failure('EMESSAGE', 'DATA', 451), 'DEFERRED'],
    ['the session was in the wrong state', failure('EMESSAGE', 'DATA', 503), 'DEFERRED'],
    ['there is no such mailbox', failure('EENVELOPE', 'RCPT TO', 550), 'REJECTED'],
    ['the content is refused', failure('EMESSAGE', 'DATA', 554), 'REJECTED'],
    ['the address cannot be an address', failure('EENVELOPE', 'API'), 'REJECTED'],
  ])('%s', (_, error, verdict) => {
    expect(verdictOf(error)).toBe(verdict);
  });
});

describe('toPlainReason', () => {
  it('repeats what the server said, without addresses', () => {
    const error = new Error("Can't send mail: 550 5.1.1 <zoë.šimić@example.com>: unknown; see bob@example.org, please");
    expect(toPlainReason(error)).toBe("Can't send mail: 550 5.1.1 <(address)>: unknown; see (address), please");
  });

  it('is one bounded line', () => {
    const reason = toPlainReason(`a\r\nb${'x'.repeat(1_000)}`);
    expect(reason.startsWith('a bx')).toBe(true);
    expect(reason).toHaveLength(500);
  });
});
