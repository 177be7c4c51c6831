import type { BrokerOptions, ServiceBroker } from 'moleculer';
import { NOUNS, runCommand } from './run';

const ABOUT: Record<string, string> = {
  events: 'The event log: status, dead, retry, replay, republish, verify. Who handles which event: `handlers`.',
  users: 'People: show.',
  sessions: 'Sessions: end.',
};

type Parsed = { args: string[]; params?: { words: string[] } };

/** The operators' commands in Moleculer's REPL. What is behind the first word is taken as it stands. */
export const replOptions = {
  delimiter: 'hiver $',
  customCommands: NOUNS.map(noun => ({
    command: `${noun} [words...]`,
    description: ABOUT[noun],
    allowUnknownOptions: true,
    parse(command: Parsed) {
      command.params = { words: command.args };
    },
    action: async (broker: ServiceBroker, { words }: { words: string[] }) => void (await runCommand(broker, [noun, ...words])),
  })),
} as unknown as BrokerOptions['replOptions'];

interface ReplCommand {
  register(program: Program, broker: ServiceBroker): void;
  declaration(program: Program, broker: ServiceBroker, handler: unknown): void;
  handler: unknown;
}
type Program = { command(name: string): unknown };

/**
 * Makes room in the REPL for our `events`: moleculer-repl 0.8 has a command of that name, which lists who handles which
 * event, and refuses a second one. It is `handlers` here.
 */
export function makeRoomInRepl(broker: ServiceBroker): void {
  const start = broker.repl.bind(broker);
  broker.repl = () => {
    // Loaded with the REPL, and not before: most processes have none.
    const theirs = require('moleculer-repl/src/commands/events') as ReplCommand;
    theirs.register = (program, of) => {
      theirs.declaration({ command: () => program.command('handlers') }, of, theirs.handler);
    };
    return start();
  };
}
