import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit, auditAll, auditMigration } from '../../mixins/audit';
import type { CommandContext } from '../../mixins/contract';
import { Database } from '../../mixins/db/database';
import { statement } from '../../mixins/db/statement';
import { freshDatabase } from '../helpers/database';
import { somebody } from '../helpers/small-broker';

let db: Database;
beforeAll(async () => {
  const silent = { info() {}, warn() {}, error() {} };
  db = new Database({ name: 'audit', url: await freshDatabase('audit'), migrations: [auditMigration], constraints: {} }, silent);
  await db.whenReady();
});
afterAll(() => db.close());

const list = statement<{ companyId: string }, Record<string, unknown>>(
  'test.list',
  `select user_id as "userId", action, subject_type as "subjectType", subject_id as "subjectId", before, after,
    request_id as "requestId", at
  from audit_entries where company_id = $companyId order by id`,
);
const ctxOf = (user?: object) => ({ meta: { user }, requestID: 'request-1' }) as unknown as CommandContext;

describe('audit', () => {
  it('keeps who, what, when, the request, and only the fields that differ', async () => {
    const admin = somebody('ADMIN');
    const subjectId = uuidv7();
    const before = { id: subjectId, firstName: 'Zoë', phone: null, teams: [{ id: 1 }], version: 1 };
    const after = { id: subjectId, firstName: 'Zoé', phone: '+33 6', teams: [{ id: 1 }], version: 2 };
    await db.inTransaction(ctxOf(admin), tx =>
      audit(tx, { action: 'users.update', subjectType: 'user', subjectId, before, after }),
    );
    expect(await list.all(db, admin)).toEqual([
      {
        userId: admin.id,
        action: 'users.update',
        subjectType: 'user',
        subjectId,
        before: { firstName: 'Zoë', phone: null, version: 1 },
        after: { firstName: 'Zoé', phone: '+33 6', version: 2 },
        requestId: 'request-1',
        at: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    ]);
  });

  it('keeps everything of what was made or removed, without secrets at any depth', async () => {
    const admin = somebody('ADMIN');
    const state = {
      name: 'Bakery',
      passwordHash: 'x',
      invite: { token: 'x', sealed: 'x', expiresAt: '2026-01-01' },
      refreshToken: 'x',
    };
    const entry = { action: 'a', subjectType: 'thing', subjectId: uuidv7() };
    await db.inTransaction(ctxOf(admin), async tx => {
      await audit(tx, { ...entry, before: null, after: state });
      await audit(tx, { ...entry, before: state });
    });
    const kept = { name: 'Bakery', invite: { expiresAt: '2026-01-01' } };
    expect(await list.all(db, admin)).toMatchObject([
      { before: null, after: kept },
      { before: kept, after: null },
    ]);
  });

  it('writes nothing when only a secret changed or nothing did', async () => {
    const admin = somebody('ADMIN');
    const entry = { action: 'a', subjectType: 'thing', subjectId: uuidv7() };
    await db.inTransaction(ctxOf(admin), tx =>
      audit(tx, { ...entry, before: { name: 'a', passwordHash: 'x' }, after: { passwordHash: 'y', name: 'a' } }),
    );
    expect(await list.all(db, admin)).toEqual([]);
  });

  it('takes who did it from the entry where nobody is signed in', async () => {
    const by = { companyId: uuidv7(), userId: uuidv7() };
    const entry = { action: 'auth.signUp', subjectType: 'company', subjectId: by.companyId, after: { name: 'Bakery' } };
    await db.inTransaction(ctxOf(), tx => audit(tx, { ...entry, by }));
    await db.inTransaction(undefined, tx => audit(tx, { ...entry, by: { companyId: by.companyId } }));
    expect(await list.all(db, by)).toMatchObject([
      { userId: by.userId, requestId: 'request-1' },
      { userId: null, requestId: null },
    ]);
    await expect(db.inTransaction(ctxOf(), tx => audit(tx, entry))).rejects.toThrow('in whose company');
  });

  it('keeps many with one statement, and none when the change is rolled back', async () => {
    const admin = somebody('ADMIN');
    const entries = Array.from({ length: 500 }, (_, n) => ({ action: 'a', subjectType: 't', subjectId: uuidv7(), after: { n } }));
    const failing = db.inTransaction(ctxOf(admin), async tx => {
      await auditAll(tx, entries);
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    expect(await list.all(db, admin)).toEqual([]);
    await db.inTransaction(ctxOf(admin), tx => auditAll(tx, entries));
    expect((await list.all(db, admin)).map(({ after }) => (after as { n: number }).n)).toEqual(
      entries.map(({ after }) => after.n),
    );
  });
});
