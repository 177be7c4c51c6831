import type { ServerMeasurement } from './load';
import type { Scenario } from './scenarios';

/** One scenario of one round, measured on both servers. */
export interface Comparison {
  scenario: Scenario;
  round: number;
  app: ServerMeasurement;
  bare: ServerMeasurement;
}

/** Middle of an odd number of values, mean of the middle two of an even one. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

const HEADER = ['scenario', 'server', 'requests/s', 'p50 ms', 'p99 ms', 'CPU µs/request', 'peak MB', 'ratio to bare', 'target'];

/** The table of all scenarios: medians of the rounds. */
export function tableOf(comparisons: readonly Comparison[]): string {
  const scenarios = [...new Set(comparisons.map(({ scenario }) => scenario))];
  const rows = scenarios.flatMap(scenario => {
    const rounds = comparisons.filter(comparison => comparison.scenario === scenario);
    const ratio = median(rounds.map(({ app, bare }) => app.cpu / bare.cpu));
    const verdict = ratio <= scenario.target ? 'met' : 'missed';
    const numbers = (side: 'app' | 'bare') => {
      const middle = (key: 'perSecond' | 'p50' | 'p99' | 'cpu') => median(rounds.map(round => round[side][key]));
      const peak = Math.max(...rounds.map(round => round[side].peakMemory));
      return [
        middle('perSecond').toFixed(0),
        middle('p50').toFixed(2),
        middle('p99').toFixed(2),
        middle('cpu').toFixed(0),
        peak.toFixed(0),
      ];
    };
    return [
      [scenario.name, 'hiver', ...numbers('app'), ratio.toFixed(2), `<= ${scenario.target}, ${verdict}`],
      ['', 'bare', ...numbers('bare'), '', ''],
    ];
  });
  return align([HEADER, ...rows]);
}

function align(rows: readonly string[][]): string {
  const widths = HEADER.map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)));
  const isText = (column: number) => column < 2;
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => `${'-'.repeat(width + 1)}${isText(column) ? '-' : ':'}`).join('|')}|`;
  const [header = [], ...body] = rows;
  return [line(header), rule, ...body.map(line)].join('\n');
}

/** Answers that were no success, for each scenario and server that had some. */
export function refusalsOf(comparisons: readonly Comparison[]): string[] {
  return comparisons.flatMap(({ scenario, round, app, bare }) =>
    [
      { name: 'hiver', refused: app.refused },
      { name: 'bare', refused: bare.refused },
    ]
      .filter(({ refused }) => Object.keys(refused).length > 0)
      .map(({ name, refused }) => `${scenario.name}, round ${round}: ${name} refused ${JSON.stringify(refused)}`),
  );
}
