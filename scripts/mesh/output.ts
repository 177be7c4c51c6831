import { styleText } from 'node:util';
import { prettyFactory } from 'pino-pretty';
import { PRETTY } from '../../mixins/logger';

const COLORS = ['cyan', 'green', 'yellow', 'magenta', 'blue', 'cyanBright', 'greenBright', 'yellowBright'] as const;
const WIDTH = 17;

/** What all nodes write, on one screen: each line behind the name of its node, which has a colour. */
export class Output {
  readonly #pretty = prettyFactory({ ...PRETTY, colorize: process.stdout.isTTY });
  readonly #seen: string[] = [];

  /** A line that a node wrote. */
  line(node: string, line: string): void {
    const text = line.startsWith('{') ? this.#pretty(line).trimEnd() : line;
    for (const each of text.split('\n')) process.stdout.write(`${this.#nameOf(node)} ${each}\n`);
  }

  /** What we have to say of a node. */
  say(node: string, text: string): void {
    process.stdout.write(`${this.#nameOf(node)} ${styleText('bold', text)}\n`);
  }

  #nameOf(node: string): string {
    if (!this.#seen.includes(node)) this.#seen.push(node);
    return styleText(COLORS[this.#seen.indexOf(node) % COLORS.length] ?? 'cyan', node.padEnd(WIDTH));
  }
}
