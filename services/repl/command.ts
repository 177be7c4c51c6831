import type { ServiceBroker } from 'moleculer';
import { DOMAINS, type Domain } from '../../mixins/config';

/** What a command was asked. */
export interface Asked {
  broker: ServiceBroker;
  /** Who asks. */
  operator: string;
  /** Words behind the command's own, without options. */
  args: readonly string[];
  options: ReadonlySet<string>;
}

/** What came of it: `json` for scripts, `text` for people. */
export interface Outcome {
  json: unknown;
  text: string;
  /** What was asked for is not so: the command did its work, and a script is to stop. */
  isFailure?: boolean;
}

export interface Command {
  /** `events retry <domain> [id…]` */
  usage: string;
  about: string;
  /** Options beside `--json`. */
  options?: readonly string[];
  /** Most words that it takes; any number unless told. */
  most?: number;
  run(asked: Asked): Promise<Outcome>;
}

/** What was typed makes no sense. */
export class UsageError extends Error {}

/** @throws {UsageError} naming the domains that there are */
export function domainOf(word: string | undefined): Domain {
  const domain = DOMAINS.find(name => name === word);
  if (domain) return domain;
  const problem = word === undefined ? 'The domain is missing' : `There is no domain ${word}`;
  throw new UsageError(`${problem}. The domains are ${DOMAINS.join(', ')}.`);
}
