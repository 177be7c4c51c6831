import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FieldError } from '../../mixins/errors';
import { type ImportedPerson, invalidImport, MAX_PEOPLE, parsePeople } from '../../services/users/import.rules';

const HEADER = 'firstName,lastName,email,team,role,timeZone,locale,startsOn,phone';
const file = (name: string) => readFileSync(join(__dirname, '../data', name));
const parse = (text: string | Buffer): ImportedPerson[] => parsePeople(Buffer.from(text as string)).people;

interface Refusal {
  code: number;
  type: string;
  data: { errors?: FieldError[]; members?: { byteOffset?: number; errorCount?: number } };
}

function refusalOf(text: string | Buffer): Refusal {
  try {
    parse(text);
  } catch (error) {
    return error as Refusal;
  }
  throw new Error('The file was taken');
}

/** `line field` of everything that is wrong with a file, whose refusal must be IMPORT_INVALID. */
function faultsOf(text: string | Buffer): string[] {
  const { type, code, data } = refusalOf(text);
  expect({ type, code }).toEqual({ type: 'IMPORT_INVALID', code: 422 });
  return (data.errors ?? []).map(({ line, field }) => `${line} ${field}`);
}

const row = (n: number, cells: Partial<Record<keyof ImportedPerson, string>> = {}) =>
  [
    cells.firstName ?? 'Zoé',
    cells.lastName ?? 'Nguyễn',
    cells.email ?? `zoe${n}@example.com`,
    cells.team ?? '',
    cells.role ?? '',
    cells.timeZone ?? '',
    cells.locale ?? '',
    cells.startsOn ?? '',
    cells.phone ?? '',
  ].join(',');

describe('the files that a customer may bring', () => {
  it('reads 40 people separated by commas', () => {
    const people = parse(file('people.csv'));
    expect(people).toHaveLength(40);
    expect(people[0]).toEqual({
      line: 2,
      firstName: 'Margaux',
      lastName: 'Moreau',
      email: 'margaux.moreau@atelier-lumiere.example',
      team: 'Night shift',
      role: 'MANAGER',
      timeZone: 'Europe/Paris',
      locale: 'fr',
      startsOn: '2023-01-28',
      phone: '+33 6 71 11 69 48',
    });
  });

  it('reads 500 people in 13 teams as a French Excel saves them', () => {
    const people = parse(file('people-excel-fr.csv'));
    expect(people).toHaveLength(500);
    expect(new Set(people.map(({ team }) => team).filter(Boolean)).size).toBe(13);
  });

  it('names each fault of a broken file with its line and field', () => {
    expect(faultsOf(file('people-broken.csv'))).toEqual([
      '3 email',
      '4 email',
      '5 role',
      '6 timeZone',
      '7 startsOn',
      '8 firstName',
      '9 firstName',
      '10 email',
      '12 null',
    ]);
    expect(refusalOf(file('people-broken.csv')).data.members).toEqual({ errorCount: 9 });
  });

  it('takes a text that starts a formula for what it is: a text', () => {
    const lines = file('people-broken.csv').toString().split('\n');
    const [person] = parse([lines[0], lines[10]].join('\n'));
    expect(person?.firstName).toBe('=HYPERLINK("http://evil.example","x")');
  });

  it('refuses ISO 8859-1 and tells the byte', () => {
    const bytes = file('people-latin1.csv');
    const { type, code, data } = refusalOf(bytes);
    expect({ type, code, members: data.members }).toEqual({
      type: 'IMPORT_NOT_UTF8',
      code: 422,
      members: { byteOffset: bytes.indexOf(0xe9) },
    });
  });

  it('refuses an empty file', () => {
    const { type, code, data } = refusalOf(file('people-empty.csv'));
    expect({ type, code }).toEqual({ type: 'IMPORT_NO_HEADER', code: 422 });
    expect(data.errors?.map(({ line, field }) => `${line} ${field}`)).toEqual(['1 firstName', '1 lastName', '1 email']);
  });
});

describe('bytes that are not UTF-8', () => {
  // Unicode 17, table 3-7: well-formed UTF-8 byte sequences.
  it.each([
    ['a lone continuation byte', [0x80], 0],
    ['an overlong form', [0xc0, 0xaf], 0],
    ['a surrogate', [0xed, 0xa0, 0x80], 0],
    ['a code point beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80], 0],
    ['a sequence that another character cuts off', [0xe2, 0x82, 0x41], 0],
    ['a sequence that the end of the file cuts off', [0xe2, 0x82], 0],
    ['the first bytes of U+FFFD, cut off', [0xef, 0xbf, 0x41], 0],
    ['the first bytes of U+FFFD at the end', [0xef, 0xbf], 0],
    ['a fault after a genuine U+FFFD', [0xef, 0xbf, 0xbd, 0xff], 3],
    ['a fault after an astral character', [0xf0, 0x9f, 0x8c, 0x9e, 0xc3, 0x28], 4],
    ['UTF-16 with its byte order mark', [0xff, 0xfe, 0x66, 0x00], 0],
  ])('finds %s', (_, bad, offset) => {
    for (const before of ['', 'a', 'é', 'a漢', 'é'.repeat(5_000)]) {
      const bytes = Buffer.concat([Buffer.from(before), Buffer.from(bad)]);
      const byteOffset = Buffer.byteLength(before) + offset;
      expect(refusalOf(bytes).data.members, `after ${before.length} characters`).toEqual({ byteOffset });
    }
  });

  it('takes a genuine U+FFFD', () => {
    expect(parse(`${HEADER}\n${row(1, { firstName: 'Z\uFFFD' })}`)).toHaveLength(1);
  });
});

describe('the header', () => {
  it('may have its columns in any order, in any case and with spaces around', () => {
    expect(parse(' EMAIL ,"lastname",\u00A0FirstName\u00A0\nzoe@example.com,Nguyễn,Zoé')).toEqual([
      { line: 2, firstName: 'Zoé', lastName: 'Nguyễn', email: 'zoe@example.com', role: 'EMPLOYEE' },
    ]);
  });

  it('decides between comma and semicolon', () => {
    expect(parse('firstName;lastName;email\nJean, Paul;"Dupont; Durand";jp@example.com')).toMatchObject([
      { firstName: 'Jean, Paul', lastName: 'Dupont; Durand' },
    ]);
    expect(parse('firstName,lastName,email\nJean; Paul,Dupont,jp@example.com')).toMatchObject([{ firstName: 'Jean; Paul' }]);
  });

  it.each([
    ['is missing', 'Zoé,Nguyễn,zoe@example.com', ['firstName', 'lastName', 'email']],
    ['lacks a column', 'firstName,email,team\nZoé,zoe@example.com,Nord', ['lastName']],
    ['is nothing but white space', '\uFEFF \r\n\u00A0\n', ['firstName', 'lastName', 'email']],
    ['is nothing but separators', ';;;\n;;;', ['firstName', 'lastName', 'email']],
  ])('is refused when it %s', (_, text, missing) => {
    const { type, data } = refusalOf(text);
    expect(type).toBe('IMPORT_NO_HEADER');
    expect(data.errors?.map(({ line, field }) => ({ line, field }))).toEqual(missing.map(field => ({ line: 1, field })));
  });

  it('names unknown, doubled and nameless columns, and the rows that are wrong besides', () => {
    const text = 'firstName,lastName,email,salary,Email,\nZoé,Nguyễn,nobody,1,x,\nZoé,Nguyễn,zoe@example.com,1,x,';
    expect(faultsOf(text)).toEqual(['1 salary', '1 email', '1 null', '2 email']);
  });

  it('does not take names of Object.prototype for columns', () => {
    expect(faultsOf('firstName,lastName,email,__proto__,constructor\na,b,c@example.com,d,e')).toEqual([
      '1 __proto__',
      '1 constructor',
    ]);
  });

  it('gives no long name back', () => {
    const answer = JSON.stringify(refusalOf(`firstName,lastName,email,${'x'.repeat(5_000)}`).data);
    expect(answer.length).toBeLessThan(500);
  });

  it('alone is a file of nobody', () => {
    expect(parse(`\uFEFF${HEADER}\r\n`)).toEqual([]);
  });
});

describe('a row', () => {
  it('has EMPLOYEE for a role, and nothing where its optional cells are blank', () => {
    expect(parse(`${HEADER}\n${row(1, { team: ' ', phone: '\u00A0' })}`)).toEqual([
      { line: 2, firstName: 'Zoé', lastName: 'Nguyễn', email: 'zoe1@example.com', role: 'EMPLOYEE' },
    ]);
  });

  it('is trimmed, of no-break spaces too', () => {
    const cells = {
      firstName: '\u00A0 Zoé\u202F',
      email: ' zoe@example.com\u00A0',
      timeZone: ' Europe/Paris ',
      role: '" ADMIN "',
    };
    expect(parse(`${HEADER}\n${row(1, cells)}`)).toMatchObject([
      { firstName: 'Zoé', email: 'zoe@example.com', timeZone: 'Europe/Paris', role: 'ADMIN' },
    ]);
  });

  it.each<[keyof ImportedPerson, string]>([
    ['firstName', ''],
    ['firstName', 'x'.repeat(101)],
    ['firstName', '"Zo\u0000"'],
    ['lastName', ' '],
    ['lastName', '"Ngu\nyễn"'],
    ['email', ''],
    ['email', 'zoe@'],
    ['email', `${'z'.repeat(250)}@example.com`],
    ['team', 'x'.repeat(101)],
    ['role', 'employee'],
    ['role', 'toString'],
    ['timeZone', 'Mars/Olympus'],
    ['timeZone', '+02:00'],
    ['locale', 'tlh'],
    ['startsOn', '2023-02-29'],
    ['startsOn', '29/02/2024'],
    ['phone', 'call me'],
  ])('with %s %j is refused, naming that field alone', (field, text) => {
    expect(faultsOf(`${HEADER}\n${row(1)}\n${row(2, { [field]: text })}`)).toEqual([`3 ${field}`]);
  });

  it('names every field that is wrong once', () => {
    const text = `${HEADER}\n${row(1, { firstName: `"${'\t'.repeat(3)}x\u0000${'x'.repeat(200)}"`, role: 'BOSS', timeZone: 'Nowhere' })}`;
    expect(faultsOf(text)).toEqual(['2 firstName', '2 role', '2 timeZone']);
  });

  it('says what is expected without repeating what was given', () => {
    const { data } = refusalOf(`${HEADER}\n${row(1, { email: 'SECRET', role: 'SECRET', startsOn: 'SECRET', phone: 'SECRET' })}`);
    expect(data.errors).toHaveLength(4);
    expect(JSON.stringify(data)).not.toContain('SECRET');
  });

  it('that is too short or too long is one fault of no field', () => {
    expect(faultsOf(`${HEADER}\nZoé,Nguyễn\n${row(1)},more\n${row(2)}`)).toEqual(['2 null', '3 null']);
  });

  it('may not have the address of an earlier one, in whatever case', () => {
    const text = `${HEADER}\n${row(1, { email: 'zoe@example.com', role: 'BOSS' })}\n${row(2)}\n${row(3, { email: 'ZOE@Example.com' })}`;
    expect(faultsOf(text)).toEqual(['2 role', '4 email']);
    expect(refusalOf(text).data.errors?.[1]?.message).toContain('line 2');
  });
});

describe('the lines of a file', () => {
  it.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('end in %s, also in quotes, and are counted right', (_, end) => {
    const lines = [
      HEADER,
      '',
      row(1, { team: `"${end}${end}Nord${end}"` }), // 3 to 6
      '',
      ',,,,,,,,',
      row(2), // 9
      `"${end}Zoé",N,nobody,,,,,,`, // 10 and 11
      row(3), // 12
      row(4, { role: 'BOSS' }), // 13
      '',
    ];
    expect(faultsOf(lines.join(end))).toEqual(['10 email', '13 role']);
    const fine = lines.filter(line => !/nobody|BOSS/.test(line)).join(end);
    expect(parse(fine).map(person => [person.line, person.team])).toEqual([
      [3, 'Nord'],
      [9, undefined],
      [10, undefined],
    ]);
  });

  it('may be of several kinds in one file', () => {
    expect(parse(`${HEADER}\r\n${row(1)}\n${row(2)}\r${row(3)}`).map(({ line }) => line)).toEqual([2, 3, 4]);
  });
});

describe('quotes', () => {
  it('hold separators, and quotes that are doubled', () => {
    expect(parse(`${HEADER}\n${row(1, { firstName: '"Anne ""Nan"", dite X"', lastName: ' "Le;Goff" ' })}`)).toMatchObject([
      { firstName: 'Anne "Nan", dite X', lastName: 'Le;Goff' },
    ]);
  });

  it.each([
    ['is not closed', '"Zoé,Nguyễn,zoe@example.com'],
    ['closes before the end of its text', '"Zoé"x,Nguyễn,zoe@example.com'],
    ['opens inside a text', 'Z"oé",Nguyễn,zoe@example.com'],
    ['opens a second text in one cell', '"Zoé" "N",Nguyễn,zoe@example.com'],
    ['swallows a long rest of the file', `"Zoé,Nguyễn,zoe@example.com\n${`${row(1)}\n`.repeat(1_000)}`],
  ])('one that %s is a fault of its line, after those of the lines before', (_, broken) => {
    const before = ['firstName,lastName,email', '"Zoé\n",Nguyễn,zoe@example.com', '', 'a,b,nobody', ''].join('\n');
    expect(faultsOf(`${before}\n${broken}`)).toEqual(['5 email', '7 null']);
  });

  it('one that is not closed in the header is a fault of line 1', () => {
    expect(faultsOf('"firstName,lastName,email\na,b,c')).toEqual(['1 null']);
  });
});

describe('the size of a file', () => {
  const rows = (count: number, cells = {}) => Array.from({ length: count }, (_, n) => row(n, cells)).join('\n');

  it(`may be ${MAX_PEOPLE} rows`, () => {
    expect(parse(`${HEADER}\n${rows(MAX_PEOPLE)}\n`)).toHaveLength(MAX_PEOPLE);
  });

  it('may not be a row more', () => {
    expect(faultsOf(`${HEADER}\n${rows(MAX_PEOPLE + 1)}\n`)).toEqual([`${MAX_PEOPLE + 2} null`]);
  });

  it('does not lengthen the answer: 100 errors and how many there are', () => {
    const { data } = refusalOf(`${HEADER}\n${rows(900, { role: 'BOSS', locale: 'xx' })}`);
    expect(data.errors).toHaveLength(100);
    expect(data.members).toEqual({ errorCount: 1_800 });
  });

  const MEGABYTES = 5 * 1024 * 1024;
  it.each([
    ['rows of separators', `${HEADER}\n${',\n'.repeat(MEGABYTES / 2)}`],
    ['one row of separators', `${HEADER}\n${','.repeat(MEGABYTES)}`],
    ['cells that are line breaks', `${HEADER}\n${'"\n",'.repeat(MEGABYTES / 4)}`],
    ['a header of separators', ','.repeat(MEGABYTES)],
    ['quotes', `${HEADER}\n${'"'.repeat(MEGABYTES)}`],
    ['short rows', `${HEADER}\n${'a\n'.repeat(MEGABYTES / 2)}`],
    ['carriage returns', `"${'\r'.repeat(MEGABYTES)}`],
  ])('of 5 MB of %s is refused quickly', (_, text) => {
    const start = performance.now();
    refusalOf(text);
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe('any file', () => {
  it('is either taken or refused with a problem whose errors have lines of the file', () => {
    const random = seeded(20_260_329);
    const pieces = [
      HEADER,
      '\n',
      '\r\n',
      '\r',
      ',',
      ';',
      '"',
      '""',
      ' ',
      '\u00A0',
      '\uFEFF',
      '\u0000',
      row(1),
      row(2),
      'é',
      '=1+1',
    ];
    for (let round = 0; round < 3_000; round++) {
      const start = random() < 0.7 ? `${HEADER}\n` : '';
      const text = start + Array.from({ length: 12 }, () => pieces[Math.floor(random() * pieces.length)]).join('');
      const lines = text.split(/\r\n|\n|\r/).length;
      try {
        for (const person of parse(text)) expect(person.line).toBeLessThanOrEqual(lines);
      } catch (error) {
        const { type, data } = error as Refusal;
        expect(type, JSON.stringify(text)).toMatch(/^IMPORT_/);
        for (const fault of data.errors ?? []) {
          expect(fault.line, JSON.stringify(text)).toBeGreaterThanOrEqual(1);
          expect(fault.line, JSON.stringify(text)).toBeLessThanOrEqual(lines);
          expect(fault.message).not.toBe('');
        }
      }
    }
  });

  it('that writes people down is read as those people', () => {
    const random = seeded(7);
    const alphabet = [...'aéÇ"",;= +-@\u00A0ß漢🌞'];
    const name = () =>
      `N${Array.from({ length: 1 + random() * 12 }, () => alphabet[Math.floor(random() * alphabet.length)]).join('')}N`;
    for (let round = 0; round < 300; round++) {
      const separator = random() < 0.5 ? ',' : ';';
      const end = ['\n', '\r\n', '\r'][Math.floor(random() * 3)] ?? '\n';
      const people = Array.from({ length: 5 }, (_, n) => ({
        firstName: name(),
        lastName: name(),
        email: `n${n}@example.com`,
        team: name(),
      }));
      const quoted = (text: string) => (/[",;]/.test(text) || random() < 0.3 ? `"${text.replaceAll('"', '""')}"` : text);
      const lines = people.map(person => Object.values(person).map(quoted).join(separator));
      const text = [['firstName', 'lastName', 'email', 'team'].join(separator), ...lines].join(end);
      const read = parse(text).map(({ line: _line, role: _role, ...person }) => person);
      expect(read).toEqual(people);
    }
  });
});

describe('invalidImport', () => {
  it('lists 100 errors and counts all', () => {
    const errors = Array.from({ length: 250 }, (_, n) => ({ line: n + 2, field: 'email', message: 'is taken' }));
    const refusal = invalidImport(errors) as unknown as Refusal;
    expect(refusal.type).toBe('IMPORT_INVALID');
    expect(refusal.data.errors).toEqual(errors.slice(0, 100));
    expect(refusal.data.members).toEqual({ errorCount: 250 });
  });
});

/** Numbers in [0, 1) that are the same in each run: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
