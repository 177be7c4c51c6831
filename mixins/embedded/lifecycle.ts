import { existsSync } from 'node:fs';
import { ConfigError } from '../config';
import { StartError } from './start-error';

const DEADLINE = 4_500;
/** npm passes on the Ctrl-C that the terminal sends to everybody anyway: two signals this close are one. */
const SAME_KEYSTROKE = 500;

/**
 * Ends the process in good order at the first Ctrl-C, SIGTERM or SIGHUP: `stop` answers open requests and stops what
 * runs. After 4.5 s, or at the second Ctrl-C, it ends as it is.
 */
export function onStopSignal(stop: () => Promise<unknown> | undefined): void {
  let first: number | undefined;
  const handle = async (): Promise<void> => {
    if (first !== undefined) {
      if (performance.now() - first > SAME_KEYSTROKE) process.exit(130);
      return;
    }
    first = performance.now();
    setTimeout(() => process.exit(1), DEADLINE).unref();
    await stop();
    process.exit(0);
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => void handle());
}

/** Adds the variables of `.env` to the environment, where there is such a file; those that are set already stay. */
export function loadEnvFile(): void {
  if (existsSync('.env')) process.loadEnvFile('.env');
}

/** What somebody reads who started the program and sees it end: what is wrong, and what to do. */
export function explain(error: unknown): string {
  if (error instanceof StartError || error instanceof ConfigError) return error.message;
  const { name, message, code, stack, migration } = error as Error & { code?: string; migration?: { name: string } };
  if (code === 'EADDRINUSE') return `${message}.\nStop what uses that port, or choose another one with PORT.`;
  if (name === 'MigrationError') {
    return `${message}\nNothing of ${migration?.name ?? 'it'} was applied. Correct the migration, or start the version before it.`;
  }
  return stack ?? String(error);
}
