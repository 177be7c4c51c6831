import type { ServiceBroker } from 'moleculer';
import { databasesOf } from '../../mixins/db/database';
import { within } from '../../mixins/within';

const PATIENCE = 1_000;

export type DatabaseStates = Record<string, 'up' | 'down'>;

/** Asks every database of this node for a sign of life, each within a second. */
export async function databaseStates(broker: ServiceBroker): Promise<DatabaseStates> {
  const databases = [...databasesOf(broker).values()];
  const states = await Promise.all(databases.map(async database => [database.name, await stateOf(database)] as const));
  return Object.fromEntries(states);
}

async function stateOf(database: { ping(): Promise<void> }): Promise<'up' | 'down'> {
  const answer = database.ping().then(
    () => 'up' as const,
    () => 'down' as const,
  );
  return within(PATIENCE, answer, () => 'down');
}
