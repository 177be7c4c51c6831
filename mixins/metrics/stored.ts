import type { Hub } from '../events/hub';
import { readStored, type Stored } from '../events/stored';
import { within } from '../within';

/** Milliseconds that a database has to say how it is doing. */
const PATIENCE = 2_000;

/** Looks that are under way: a frozen database is asked once, not once a scrape. */
const looks = new WeakMap<Hub, Promise<Stored | undefined>>();

/** One look at a domain's database; `undefined` when it does not answer in time, or not well. */
export async function lookAtStored(hub: Hub): Promise<Stored | undefined> {
  if (!hub.database.isReady) return undefined;
  return within(PATIENCE, looks.get(hub) ?? begin(hub), () => undefined);
}

function begin(hub: Hub): Promise<Stored | undefined> {
  const look = readStored(hub.connections)
    .catch(() => undefined)
    .finally(() => looks.delete(hub));
  looks.set(hub, look);
  return look;
}
