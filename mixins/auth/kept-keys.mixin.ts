import type { Service, ServiceSchema } from 'moleculer';
import type { DbVars } from '../db/db.mixin';
import { keptKeys } from './kept-keys';
import { keySourceOf } from './key-source';
import type { KeyCopy } from './keys';

interface KeptKeysVars {
  keyCopy: KeyCopy | undefined;
}

/** Keeps the public keys of the users node in the domain's database, where the process has no keys of its own. */
export function keepKeys(): Partial<ServiceSchema> {
  const mixin = {
    async started(this: Service & DbVars & KeptKeysVars) {
      const { db, broker } = this;
      const keys = keySourceOf(broker);
      if (!keys.keepIn) return;
      const copy = keptKeys(db);
      this.keyCopy = copy;
      const keep = () =>
        keys.keepIn?.(copy).catch(error => this.logger.warn(`The kept keys of tokens could not be read: ${error.message}`));
      await db.firstTry;
      if (db.isReady) await keep();
      else db.whenReady().then(keep, () => undefined);
    },
    async stopped(this: Service & DbVars & KeptKeysVars) {
      if (this.keyCopy) keySourceOf(this.broker).forget?.(this.keyCopy);
    },
  };
  return mixin as unknown as Partial<ServiceSchema>;
}
