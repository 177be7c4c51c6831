import { hostname, userInfo } from 'node:os';
import type { ServiceBroker } from 'moleculer';
import { type Command, UsageError } from './command';
import { eventsCommands } from './events.commands';
import { toMessage } from './failures';
import { sessionsCommands, usersCommands } from './people.commands';

/** The first word of a command, and its second. */
const commands: Readonly<Record<string, Readonly<Record<string, Command>>>> = {
  events: eventsCommands,
  users: usersCommands,
  sessions: sessionsCommands,
};

/** First words of our commands. */
export const NOUNS = Object.keys(commands);

export interface Output {
  /** The answer. */
  out(text: string): void;
  /** Why there is none. */
  err(text: string): void;
}

const terminal: Output = {
  out: text => void process.stdout.write(`${text}\n`),
  err: text => void process.stderr.write(`${text}\n`),
};

/**
 * Runs one of the operators' commands: `['events', 'status', '--json']`. With `--json` one document is written, whatever
 * comes of it.
 * @returns whether all is well
 */
export async function runCommand(
  broker: ServiceBroker,
  words: readonly string[],
  { out, err }: Output = terminal,
): Promise<boolean> {
  const isJson = words.includes('--json');
  const json = (value: unknown) => out(JSON.stringify(value, null, 2));
  try {
    const { command, args, options } = parse(words);
    const outcome = await command.run({ broker, operator: operatorName(), args, options });
    if (isJson) json(outcome.json);
    else out(outcome.text);
    return !outcome.isFailure;
  } catch (error) {
    const message = error instanceof UsageError ? error.message : toMessage(error);
    if (isJson) json({ error: message });
    else err(error instanceof UsageError ? `${message}\n${usage(words)}` : message);
    return false;
  }
}

function parse(words: readonly string[]): { command: Command; args: string[]; options: Set<string> } {
  const [noun = '', verb = '', ...args] = words.filter(word => !word.startsWith('-'));
  const options = new Set(words.filter(word => word.startsWith('-') && word !== '--json'));
  const verbs = Object.hasOwn(commands, noun) ? (commands[noun] ?? {}) : {};
  const command = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  if (!command) throw new UsageError(verb ? `There is no command ${noun} ${verb}.` : `${noun} what?`);
  const unknown = [...options].find(option => !command.options?.includes(option));
  if (unknown) throw new UsageError(`${noun} ${verb} has no option ${unknown}.`);
  const extra = args[command.most ?? args.length];
  if (extra !== undefined) throw new UsageError(`${noun} ${verb} does not take ${extra} too.`);
  return { command, args, options };
}

/** How a command is used; all of that first word, or simply all, where there is no such command. */
function usage(words: readonly string[]): string {
  const [noun = '', verb = ''] = words.filter(word => !word.startsWith('-'));
  const verbs = Object.hasOwn(commands, noun) ? (commands[noun] ?? {}) : undefined;
  const command = verbs && Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  const shown = command ? [command] : verbs ? Object.values(verbs) : Object.values(commands).flatMap(each => Object.values(each));
  const width = Math.max(...shown.map(each => each.usage.length));
  return shown.map(each => `  ${each.usage.padEnd(width)}   ${each.about}`).join('\n');
}

/** Who is at the keyboard, for the operators' log. */
export function operatorName(): string {
  return `${userName()}@${hostname()}`.slice(0, 200);
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under an id that nobody has a name for.
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}
