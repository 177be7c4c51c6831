/**
 * A process that dies where it is told to: takes its options as JSON from standard input and writes a line for each
 * thing that it has done.
 */
import { readFileSync } from 'node:fs';
import { greet, Node, type NodeOptions, savePerson, savePersonIn } from './carrier-node';

export interface ChildOptions {
  node: Pick<NodeOptions, 'urls' | 'carrierModule' | 'run' | 'only'>;
  /**
   * `after-commit`: commits a person and dies before anything hears of it. `in-reaction` and `after-reaction`: dies while
   * a reaction has written and not committed, or right after its commit. `busy`: saves people until it is killed.
   */
  dies: 'after-commit' | 'in-reaction' | 'after-reaction' | 'busy';
}

const die = () => void process.kill(process.pid, 'SIGKILL');

async function main(): Promise<void> {
  const { node: options, dies } = JSON.parse(readFileSync(0, 'utf8')) as ChildOptions;
  const node = await Node.start({
    ...options,
    behaviour: (_, tx) => {
      if (dies === 'in-reaction') die();
      if (dies === 'after-reaction') tx.afterCommit(die);
    },
  });
  const { database } = node.owner;
  process.stdout.write('ready\n');
  if (dies === 'after-commit') {
    await database.inTransaction(undefined, async tx => {
      tx.afterCommit(die);
      await savePersonIn(tx);
    });
  } else if (dies === 'busy') await keepBusy(database);
  else await savePerson(database);
}

async function keepBusy(database: Parameters<typeof savePerson>[0]): Promise<void> {
  for (let nth = 1; ; nth++) {
    const { id } = await savePerson(database);
    await Promise.all([savePerson(database, { id }), greet(database, id, nth)]);
    process.stdout.write(`${nth}\n`);
  }
}

void main();
