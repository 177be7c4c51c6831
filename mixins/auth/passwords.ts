import { createRequire } from 'node:module';
import { hash } from '@node-rs/argon2';
import type { FieldError } from '../errors';
import { BoundedQueue } from './bounded-queue';
import { lowerWorkerPriority } from './thread-priority';

/** The shortest and longest password that may be chosen, in characters. */
const PASSWORD_LENGTH = { min: 10, max: 128 } as const;

/** argon2id, the library's default, with 19 MiB, two passes, one lane: OWASP's password storage cheat sheet. */
const ARGON2ID = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/**
 * One hash at a time (about 9 ms of one core): with two cores, the other one stays free for everything else that people
 * wait for. The queue of a full house is gone in two to three seconds. Of the process, like the cores that it spares.
 */
const queue = new BoundedQueue({ concurrency: 1, capacity: 256, retryAfterSeconds: 3 });

/**
 * Hashes a password, off the event loop.
 * @param salt 16 bytes; the same password and salt give the same hash
 * @returns PHC string with algorithm, parameters and salt
 * @throws UNAVAILABLE with `Retry-After` when too many hashes wait
 */
export function hashPassword(password: string, salt: Buffer): Promise<string> {
  return queue.run(async () => {
    const hashing = hash(normalize(password), { ...ARGON2ID, salt });
    // The threads are there once there is work for them.
    if (!isLowered) lowerWorkerPriority();
    isLowered = true;
    return hashing;
  });
}

let isLowered = false;

/** So that an é from one keyboard is an é from any other (NIST SP 800-63B, 3.1.1.2). */
function normalize(password: string): string {
  return password.normalize('NFKC');
}

interface Guesses {
  common: ReadonlySet<string>;
  /** The very first ones, also with a year or an exclamation mark behind them. */
  first: ReadonlySet<string>;
}

let known: Guesses | undefined;

/** Read when somebody first chooses a password: most nodes of a mesh do without its 17 MB. */
function guesses(): Guesses {
  if (known) return known;
  const { dictionary } = createRequire(__filename)('@zxcvbn-ts/language-common') as typeof import('@zxcvbn-ts/language-common');
  const list = dictionary['passwords-common'];
  known = {
    common: new Set(list.filter(password => password.length >= PASSWORD_LENGTH.min)),
    // The list knows little French.
    first: new Set([...list.slice(0, 64), 'azerty', 'motdepasse', 'admin', 'hiver']),
  };
  return known;
}

/**
 * What is wrong with a password that somebody chooses: its length, or that it is guessed first (NIST SP 800-63B,
 * 3.1.1.2: common, repetitive or sequential ones, and the name of the account). No rules on kinds of characters.
 * @param field where the password stands in the request
 * @returns nothing when it may be used
 */
export function passwordProblems(password: string, email: string, field = 'password'): FieldError[] {
  const refuse = (message: string) => [{ field, message }];
  const length = [...password].length;
  if (length < PASSWORD_LENGTH.min) return refuse(`must have at least ${PASSWORD_LENGTH.min} characters`);
  if (length > PASSWORD_LENGTH.max) return refuse(`must have at most ${PASSWORD_LENGTH.max} characters`);
  const lower = normalize(password).toLowerCase();
  const address = email.trim().toLowerCase();
  if (lower === address || lower === address.split('@')[0]) return refuse('must not be the e-mail address');
  if (isCommon(lower)) return refuse('is one of the most common passwords');
  return [];
}

function isCommon(lower: string): boolean {
  const stem = lower.replace(/[^\p{L}]+$/u, '');
  return guesses().common.has(lower) || guesses().first.has(stem) || new Set(lower).size < 4 || isSequence(lower);
}

/** `0123456789`, `abcdefghij`, also backwards. */
function isSequence(text: string): boolean {
  const codes = [...text].map(character => character.codePointAt(0) ?? 0);
  const steps = new Set(codes.slice(1).map((code, index) => code - (codes[index] ?? 0)));
  return steps.size === 1;
}
