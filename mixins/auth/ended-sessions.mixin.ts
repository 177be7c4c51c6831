import type { Service, ServiceSchema } from 'moleculer';
import type { DbVars } from '../db/db.mixin';
import { authenticatorOf } from './authenticator';
import { followEndedSessions } from './ended-sessions';

/** Makes a process refuse the tokens of sessions that ended, as the domain's database knows them. */
export function endedSessions(): Partial<ServiceSchema> {
  const mixin = {
    async started(this: Service & DbVars) {
      await followEndedSessions(this.db, authenticatorOf(this.broker)).retain();
    },
    async stopped(this: Service & DbVars) {
      followEndedSessions(this.db, authenticatorOf(this.broker)).release();
    },
  };
  return mixin as unknown as Partial<ServiceSchema>;
}
