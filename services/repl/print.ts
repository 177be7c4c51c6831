/** Columns for people: as wide as their widest cell, numbers to the right. Nothing in a cell steers the terminal. */
export function columns(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cells = [head, ...rows].map(row =>
    row.map(cell => String(cell ?? '-').replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, ' ')),
  );
  const widths = head.map((_, at) => Math.max(...cells.map(row => row[at]?.length ?? 0)));
  const isNumber = head.map((_, at) => rows.length > 0 && rows.every(row => typeof row[at] === 'number'));
  const pad = (cell: string, at: number) => (isNumber[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0));
  return cells.map(row => row.map(pad).join('  ').trimEnd()).join('\n');
}

/** `3 events`, `1 event`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
