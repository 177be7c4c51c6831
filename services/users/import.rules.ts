import { type CsvError, type InfoRecord, parse } from 'csv-parse/sync';
import type { Errors } from 'moleculer';
import type * as z from 'zod';
import { toFieldErrors } from '../../mixins/contract';
import type { FieldError } from '../../mixins/errors';
import { TeamName } from './teams.contract';
import { createUser, usersProblems } from './users.contract';

/** People in one file. */
export const MAX_PEOPLE = 10_000;
/** Characters of one row, many times what its columns may hold: one row of a million cells must not stop everybody else. */
const MAX_ROW_LENGTH = 20_000;
/** Errors that one answer lists; `errorCount` tells how many there are. */
const MAX_ERRORS = 100;
/** Characters of a caller's text that a message may repeat. */
const MAX_ECHO = 40;

const NewPerson = createUser.params.omit({ teamIds: true });

/** A row, by the rules of `POST /users`. */
const Row = NewPerson.extend({
  role: NewPerson.shape.role.default('EMPLOYEE'),
  team: TeamName.optional(),
});

/** Somebody as a row of a file describes them; `line` is the first line of that row, the header being line 1. */
export type ImportedPerson = z.output<typeof Row> & { line: number };

const COLUMNS = ['firstName', 'lastName', 'email', 'team', 'role', 'timeZone', 'locale', 'startsOn', 'phone'] as const;
type Column = (typeof COLUMNS)[number];
const REQUIRED: readonly Column[] = ['firstName', 'lastName', 'email'];
const columnsByName = new Map(COLUMNS.map(column => [column.toLowerCase(), column]));

interface CsvRecord {
  line: number;
  cells: readonly string[];
}

/** Counts what is wrong with a file, and keeps as much of it as an answer lists. */
class Faults {
  count = 0;
  readonly listed: FieldError[] = [];

  add(line: number, field: string | null, message: string): void {
    this.count++;
    if (this.listed.length < MAX_ERRORS) this.listed.push({ line, field, message });
  }
}

/**
 * Reads a file of people: UTF-8 with or without byte order mark, comma or semicolon as its header has it, any line
 * breaks, quotes as in RFC 4180, columns in any order.
 * @param bytes the file; its size is bounded by the API
 * @returns everybody in it, in the file's order
 * @throws IMPORT_NOT_UTF8 with `byteOffset`, IMPORT_NO_HEADER, IMPORT_INVALID with `errorCount` and at most 100 errors
 */
export function parsePeople(bytes: Buffer): { people: ImportedPerson[] } {
  const { records, broken } = readRecords(decode(bytes));
  const [header, ...rows] = records;
  const faults = new Faults();
  const columns = header || !broken ? readHeader(header, faults) : [];
  const people = readRows(rows, columns, faults);
  if (broken) faults.add(broken.line, null, broken.message);
  if (faults.count > 0) throw invalid(faults.listed, faults.count);
  return { people };
}

/** The refusal of a file for what its rows hold. `errors` may be longer than an answer lists. */
export function invalidImport(errors: readonly FieldError[]): Errors.MoleculerError {
  return invalid(errors.slice(0, MAX_ERRORS), errors.length);
}

function invalid(errors: FieldError[], errorCount: number): Errors.MoleculerError {
  return usersProblems.IMPORT_INVALID({ errors, members: { errorCount } });
}

function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  const byteOffset = firstMalformedByte(bytes, text);
  if (byteOffset !== undefined) {
    throw usersProblems.IMPORT_NOT_UTF8({
      detail: `The file is not UTF-8: byte ${byteOffset} cannot be read. Save it as "CSV UTF-8".`,
      members: { byteOffset },
    });
  }
  return text;
}

/** Where the first ill-formed sequence starts: decoding replaces it by U+FFFD, so encoding again shows it. */
function firstMalformedByte(bytes: Buffer, text: string): number | undefined {
  const again = Buffer.from(text, 'utf8');
  if (again.equals(bytes)) return undefined;
  let at = 0;
  while (at < bytes.length && bytes[at] === again[at]) at++;
  // A cut-off sequence may share its first bytes with those of U+FFFD.
  while (at > 0 && isContinuation(again[at])) at--;
  return at;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0b1100_0000) === 0b1000_0000;
}

function delimiterOf(text: string): ',' | ';' {
  const header = /\S[^\n]*/.exec(text)?.[0] ?? '';
  const bare = header.replace(/"[^"]*"/g, '');
  return bare.split(';').length > bare.split(',').length ? ';' : ',';
}

class TooManyRows extends Error {
  readonly code = 'TOO_MANY_ROWS';

  constructor(readonly empty_lines: number) {
    super();
  }
}

const UNREADABLE = {
  TOO_MANY_ROWS: `a file has at most ${MAX_PEOPLE} rows`,
  CSV_MAX_RECORD_SIZE: `a row has at most ${MAX_ROW_LENGTH} characters; is a quote not closed?`,
  CSV_QUOTE_NOT_CLOSED: 'a quote is not closed; nothing after it was read',
  CSV_INVALID_CLOSING_QUOTE: 'a quote inside a quoted text must be doubled; nothing after it was read',
  INVALID_OPENING_QUOTE: 'a text with quotes in it must be quoted as a whole; nothing after it was read',
  CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE: 'a quoted text must be followed by a separator; nothing after it was read',
} satisfies Partial<Record<CsvError['code'] | TooManyRows['code'], string>>;

/** The header and the rows, without blank ones. `broken` says where reading ended, if not at the end of the file. */
function readRecords(file: string): { records: CsvRecord[]; broken?: { line: number; message: string } } {
  const lines = file.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  const tooLong = lines.findIndex(line => line.length > MAX_ROW_LENGTH);
  if (tooLong >= 0) return { records: [], broken: { line: tooLong + 1, message: UNREADABLE.CSV_MAX_RECORD_SIZE } };
  // The parser would count a CRLF inside quotes as two lines.
  const text = lines.join('\n');
  const records: CsvRecord[] = [];
  // Rows of separators only are blank, too, and count as rows.
  const read = { rows: 0, lines: 0, blank: 0 };
  const firstLine = (blank: number) => read.lines + 1 + (blank - read.blank);
  const onRecord = (cells: string[], info: InfoRecord): null => {
    if (read.rows > MAX_PEOPLE) throw new TooManyRows(info.empty_lines);
    const trimmed = cells.map(cell => cell.trim());
    if (trimmed.some(Boolean)) records.push({ line: firstLine(info.empty_lines), cells: trimmed });
    Object.assign(read, { rows: read.rows + 1, lines: info.lines, blank: info.empty_lines });
    return null;
  };
  try {
    parse(text, {
      delimiter: delimiterOf(text),
      record_delimiter: '\n',
      trim: true,
      relax_column_count: true,
      max_record_size: MAX_ROW_LENGTH,
      skip_empty_lines: true,
      on_record: onRecord as never,
    });
    return { records };
  } catch (error) {
    const { code, empty_lines: blank } = error as (CsvError & InfoRecord) | TooManyRows;
    if (!(code in UNREADABLE)) throw error;
    return { records, broken: { line: firstLine(blank), message: UNREADABLE[code as keyof typeof UNREADABLE] } };
  }
}

/**
 * What each cell of a row is, by the header; `undefined` for those that are no column of ours.
 * @throws IMPORT_NO_HEADER naming the columns that are missing
 */
function readHeader(header: CsvRecord | undefined, faults: Faults): (Column | undefined)[] {
  const line = header?.line ?? 1;
  const columns = (header?.cells ?? []).map(name => columnsByName.get(name.toLowerCase()));
  const missing = REQUIRED.filter(column => !columns.includes(column));
  if (missing.length > 0) {
    throw usersProblems.IMPORT_NO_HEADER({
      errors: missing.map(field => ({ line, field, message: `the header must name ${REQUIRED.join(', ')}` })),
    });
  }
  const seen = new Set<Column>();
  return columns.map((column, index) => {
    if (column && !seen.has(column)) {
      seen.add(column);
      return column;
    }
    const name = header?.cells[index]?.slice(0, MAX_ECHO);
    if (column) faults.add(line, column, 'must stand in the header once');
    else faults.add(line, name || null, `column ${index + 1} must be one of ${COLUMNS.join(', ')}`);
    return undefined;
  });
}

function readRows(rows: readonly CsvRecord[], columns: readonly (Column | undefined)[], faults: Faults): ImportedPerson[] {
  const lineOfEmail = new Map<string, number>();
  const people: ImportedPerson[] = [];
  for (const { line, cells } of rows) {
    if (cells.length !== columns.length) {
      faults.add(line, null, `must have ${columns.length} cells, as the header does, and has ${cells.length}`);
      continue;
    }
    const cellsByColumn = byColumn(cells, columns);
    const row = Row.safeParse(cellsByColumn);
    const wrong = onePerField(row.error?.issues ?? []);
    if (!wrong.has('email')) {
      const email = cellsByColumn.email?.toLowerCase() ?? '';
      const first = lineOfEmail.get(email);
      if (first === undefined) lineOfEmail.set(email, line);
      else wrong.set('email', `must be unique in the file, and stands in line ${first} already`);
    }
    for (const [field, message] of wrong) faults.add(line, field, message);
    if (row.success) people.push({ ...row.data, line });
  }
  return people;
}

/** The texts of a row. An empty optional cell is absent; an empty required one is an empty text, which says more. */
function byColumn(cells: readonly string[], columns: readonly (Column | undefined)[]): Partial<Record<Column, string>> {
  const row: Partial<Record<Column, string>> = {};
  for (const [index, column] of columns.entries()) {
    const text = cells[index];
    if (column && (text || REQUIRED.includes(column))) row[column] = text;
  }
  return row;
}

function onePerField(issues: readonly z.core.$ZodIssue[]): Map<string | null, string> {
  const first = new Map<string | null, string>();
  for (const { field, message } of toFieldErrors(issues)) {
    if (!first.has(field)) first.set(field, message);
  }
  return first;
}
