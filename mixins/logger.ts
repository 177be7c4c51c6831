import { Loggers } from 'moleculer';
import pino, { type DestinationStream, type Logger } from 'pino';
import type { Config } from './config';

export interface LogOptions {
  /** Lines for people instead of JSON. */
  pretty?: boolean;
  /** Where lines go; standard output unless told. */
  to?: DestinationStream;
}

type Level = Config['logLevel'];

// What Moleculer says about itself at `info` is only of use to whoever debugs Moleculer.
const FRAMEWORK = new Set(['BROKER', 'REGISTRY', 'TRANSIT', 'DISCOVERY', 'TX', '$NODE']);

/**
 * Moleculer's logger on pino: one JSON object a line, written asynchronously, or pretty lines while developing.
 * Callers log ids and names of actions, never bodies, tokens or addresses.
 */
export class PinoLogger extends Loggers.Base<{ level: Level }> {
  readonly #pino: Logger;

  constructor(level: Level, { pretty = false, to }: LogOptions = {}) {
    super({ level });
    const stream = to ?? (pretty ? prettyStream() : pino.destination(BATCHED));
    this.#pino = pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: label => ({ level: label }) },
        serializers: { err: describeError },
      },
      stream,
    );
  }

  override getLogHandler({ mod, nodeID }: { mod: string; nodeID: string }): Loggers.Base.LogHandler {
    const name = mod.toUpperCase();
    const isQuiet = FRAMEWORK.has(name) && this.opts.level === 'info';
    const log = this.#pino.child({ node: nodeID, mod }, { level: isQuiet ? 'warn' : this.opts.level });
    return (level, args) => write(log, level, args);
  }

  override stop(): Promise<void> {
    return new Promise(resolve => this.#pino.flush(() => resolve()));
  }
}

// One write for many lines: at full load a write a line is a seventh of what a read costs.
const BATCHED = { dest: 1, sync: false, minLength: 8_192, periodicFlush: 100 };

// Each service's coming and going, and the failure that whoever starts the broker gets, and says better.
const CHATTER = /^(Service '.*' (started|stopped|is stopped)\.|API Gateway .*|Unable to start all services\.)$/;

/** Moleculer logs a message with an error behind it, which pino would drop; ours log an object before the message. */
function write(log: Logger, level: Level, args: unknown[]): void {
  const [first, ...rest] = args;
  if (typeof first === 'string' && CHATTER.test(first) && !log.isLevelEnabled('debug')) return;
  if (first instanceof Error) log[level]({ err: first }, text(rest) || first.message);
  else if (typeof first === 'object' && first !== null) log[level](first, text(rest));
  else log[level]({ err: rest.find(arg => arg instanceof Error) }, text(args));
}

function text(args: unknown[]): string {
  return args.filter(arg => typeof arg !== 'object' && arg !== undefined).join(' ');
}

interface ErrorLike extends Error {
  code?: unknown;
  type?: unknown;
}

/**
 * What a log line tells of an error. Picked by name: the other fields of a database's or a request's error hold
 * parameters, rows and bodies.
 */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, code, type, stack, cause } = error as ErrorLike;
  const message = quotesInput(error) ? 'A value that the database refuses' : error.message;
  return {
    name,
    message,
    code,
    type,
    stack: stack?.replace(error.message, message),
    ...(cause !== undefined && { cause: describeError(cause) }),
  };
}

/** Of bad data (SQLSTATE classes 22 and 23) PostgreSQL's messages quote the value, which a person typed. */
function quotesInput(error: Error): boolean {
  const { code } = ((error as { original?: unknown }).original ?? error) as ErrorLike;
  return typeof code === 'string' && /^2[23][0-9A-Z]{3}$/.test(code);
}

/** How lines look to people, for pino-pretty. */
export const PRETTY = {
  ignore: 'node,mod',
  singleLine: true,
  translateTime: 'SYS:HH:MM:ss.l',
  messageFormat: '{mod} {msg}',
  errorLikeObjectKeys: ['err'],
};

function prettyStream(): DestinationStream {
  const pretty = require('pino-pretty') as typeof import('pino-pretty');
  return pretty({ ...PRETTY, sync: true });
}
