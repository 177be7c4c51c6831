import type { Database } from '../db/database';
import { migration } from '../db/migrations';
import { statement } from '../db/statement';
import type { KeyCopy, PublicJwk } from './keys';

/** The last good set of public keys that tokens are verified with. */
export const publicKeysMigration = migration(
  'public-keys',
  `create table public_keys (
    kid text primary key,
    jwk jsonb not null,
    -- When it was first in a set that was fetched.
    seen_at timestamptz(3) not null default now()
  );`,
);

const selectKeys = statement<object, { jwk: PublicJwk }>('publicKeys.list', 'select jwk from public_keys order by kid');

// Sorted, so that two instances that write the same set cannot wait for each other.
const replaceKeys = statement<{ jwks: string; kids: string[] }>(
  'publicKeys.replace',
  `with gone as (delete from public_keys where kid <> all($kids::text[]))
   insert into public_keys (kid, jwk)
   select jwk ->> 'kid', jwk from jsonb_array_elements($jwks::jsonb) as jwk order by 1
   on conflict (kid) do nothing`,
);

/** Keeps a set of public keys in a domain's database. */
export function keptKeys(database: Database): KeyCopy {
  return {
    read: async () => (await selectKeys.all(database, {})).map(({ jwk }) => jwk),
    async write(jwks) {
      await replaceKeys.all(database, { jwks: JSON.stringify(jwks), kids: jwks.map(({ kid }) => kid) });
    },
  };
}
