import type { ServiceBroker } from 'moleculer';
import { databasesOf } from '../../mixins/db/database';

const PATIENCE = 1_000;

export type DatabaseStates = Record<string, 'up' | 'down'>;

/** Asks every database of this node for a sign of life, each within a second. */
export async function databaseStates(broker: ServiceBroker): Promise<DatabaseStates> {
  const databases = [...databasesOf(broker).values()];
  const states = await Promise.all(databases.map(async database => [database.name, await stateOf(database)] as const));
  return Object.fromEntries(states);
}

async function stateOf(database: { ping(): Promise<void> }): Promise<'up' | 'down'> {
  const { promise: late, resolve: giveUp } = Promise.withResolvers<'down'>();
  const timer = setTimeout(giveUp, PATIENCE, 'down');
  try {
    return await Promise.race([database.ping().then(() => 'up' as const), late]);
  } catch {
    return 'down';
  } finally {
    clearTimeout(timer);
  }
}
