import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceBroker } from 'moleculer';
import { toMessage } from './failures';
import { NOUNS, runCommand } from './run';

/** Milliseconds to wait for the first other node: a group of Kafka's takes seconds to form. */
const WAIT = 15_000;
/** Nodes answer one by one; when nobody has come for that long, all are there. */
const SETTLED = 1_000;
const LOOK_EVERY = 50;

interface SessionOptions {
  /** One command to run instead of asking for them. */
  exec?: string;
  input?: NodeJS.ReadStream;
}

/**
 * Joins the mesh as a node and takes an operator's commands: from a terminal by the REPL, otherwise those that `exec` or
 * the input holds, one a line.
 * @returns whether all went well, once there are no more; `undefined` when the REPL goes on
 */
export async function runSession(
  broker: ServiceBroker,
  { exec, input = process.stdin }: SessionOptions,
): Promise<boolean | undefined> {
  await broker.start();
  const isSeen = await waitForNodes(broker);
  if (!exec && input.isTTY) {
    process.stderr.write(`${isSeen ? whoIsThere(broker) : NOBODY}\n`);
    broker.repl();
    return undefined;
  }
  if (!isSeen) {
    process.stderr.write(`${NOBODY}\n`);
    return false;
  }
  const lines = (exec ?? (await text(input))).split('\n').filter(line => line.trim() !== '');
  let isWell = lines.length > 0;
  for (const line of lines) isWell = (await runLine(broker, line)) && isWell;
  return isWell;
}

const NOBODY = `No other node answered within ${WAIT / 1_000} s. Does the mesh run, and are KAFKA_BROKERS and TRANSPORT_KEY those that it has?`;

function nodesOf(broker: ServiceBroker): { id: string; local: boolean; services: { fullName: string }[] }[] {
  const { registry } = broker as unknown as { registry: { getNodeList(options: object): ReturnType<typeof nodesOf> } };
  return registry.getNodeList({ onlyAvailable: true, withServices: true }).filter(({ local }) => !local);
}

async function waitForNodes(broker: ServiceBroker): Promise<boolean> {
  const deadline = performance.now() + WAIT;
  let [seen, since] = ['', performance.now()];
  for (;;) {
    const now = nodesOf(broker)
      .map(({ id }) => id)
      .join();
    if (now !== seen) [seen, since] = [now, performance.now()];
    if (seen && performance.now() - since > SETTLED) return true;
    if (!seen && performance.now() > deadline) return false;
    await delay(LOOK_EVERY);
  }
}

function whoIsThere(broker: ServiceBroker): string {
  const lines = nodesOf(broker)
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, services }) => {
      const names = services.map(({ fullName }) => fullName).filter(name => !name.startsWith('$') && !name.endsWith('.events'));
      return `  ${id}: ${names.join(', ') || 'no services'}`;
    });
  return `Joined as ${broker.nodeID}. There are:\n${lines.join('\n')}\nCommands: events, users, sessions, call, nodes, services, help.`;
}

/** One line of whoever is no terminal: our commands, and `call` with its parameters in JSON. */
async function runLine(broker: ServiceBroker, line: string): Promise<boolean> {
  const words = line.trim().split(/\s+/);
  if (words[0] === 'call') return await call(broker, words[1] ?? '', line.trim().split(/\s+(?=[{[])/)[1]);
  if (NOUNS.includes(words[0] ?? '')) return await runCommand(broker, words);
  process.stderr.write(`${words[0]} is for the terminal. Without one there are ${NOUNS.join(', ')} and call <action> [JSON].\n`);
  return false;
}

async function call(broker: ServiceBroker, action: string, params = '{}'): Promise<boolean> {
  try {
    const answer: unknown = await broker.call(action, JSON.parse(params));
    process.stdout.write(`${JSON.stringify(answer ?? null, null, 2)}\n`);
    return true;
  } catch (error) {
    process.stderr.write(`${error instanceof SyntaxError ? `That is no JSON: ${params}` : toMessage(error)}\n`);
    return false;
  }
}
