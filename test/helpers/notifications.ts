import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll } from 'vitest';

const open = new Set<pg.Pool>();
afterAll(async () => {
  await Promise.all([...open].map(pool => pool.end()));
});

export interface DeliveryRow {
  id: string;
  notification_id: string;
  status: string;
  reason: string | null;
  tries: number;
  refusals: number;
  next_try_at: Date;
  last_error: string | null;
  provider_id: string | null;
  claimed_by: string | null;
  claimed_until: Date | null;
  sealed: string | null;
  user_id: string;
  kind: string;
}

/** The notifications database, looked at and written to behind the service's back. */
export class NotificationsDatabase {
  readonly pool: pg.Pool;
  readonly companyId = uuidv7();

  /** @param wake called after each write, where waiting for the job's poll would only cost time */
  constructor(
    url: string,
    private readonly wake: () => void = () => undefined,
  ) {
    this.pool = new pg.Pool({ connectionString: url, max: 2 });
    this.pool.on('error', () => undefined);
    open.add(this.pool);
  }

  async addCompany(): Promise<void> {
    await this.pool.query(
      `insert into company_infos (id, company_id, name, time_zone, locale, version) values ($1, $1, 'Atelier Lumière', 'Europe/Paris', 'fr', 1)`,
      [this.companyId],
    );
  }

  async addPerson(
    person: { email?: string; status?: string; locale?: string; id?: string } = {},
  ): Promise<{ id: string; email: string }> {
    const { id = uuidv7(), email = `${id}@example.com`, status = 'ACTIVE', locale = 'en' } = person;
    await this.pool.query(
      `insert into user_infos (id, company_id, first_name, last_name, email, role, status, team_ids, time_zone, locale, version)
       values ($1, $2, 'Zoë', 'Martin', $3, 'EMPLOYEE', $4, '{}', 'Europe/Paris', $5, 1)`,
      [id, this.companyId, email, status, locale],
    );
    return { id, email };
  }

  /** Writes down one notification and its delivery, due at once. */
  async addNotification(
    userId: string,
    told: { kind?: string; params?: object; sealed?: string | null; expiresAt?: string | null; secondsAgo?: number } = {},
  ): Promise<string> {
    const { kind = 'welcome', params = {}, sealed = null, expiresAt = null, secondsAgo = 0 } = told;
    const id = uuidv7();
    await this.pool.query(
      `with n as (
         insert into notifications (id, company_id, user_id, kind, params, dedupe_key, sealed, expires_at, created_at)
         values ($1::uuid, $2, $3, $4, $5, $1::uuid::text, $6, $7, now() - make_interval(secs => $8)) returning id)
       insert into deliveries (id, company_id, notification_id, channel) select uuidv7(), $2::uuid, id, 'MAIL' from n`,
      [id, this.companyId, userId, kind, params, sealed, expiresAt, secondsAgo],
    );
    this.wake();
    return id;
  }

  async deliveries(): Promise<DeliveryRow[]> {
    const { rows } = await this.pool.query<DeliveryRow>(
      `select d.*, n.sealed, n.user_id, n.kind from deliveries d join notifications n on n.id = d.notification_id order by d.id`,
    );
    return rows;
  }

  async delivery(notificationId: string): Promise<DeliveryRow> {
    const row = (await this.deliveries()).find(each => each.notification_id === notificationId);
    if (!row) throw new Error(`Notification ${notificationId} has no delivery`);
    return row;
  }

  async countByStatus(): Promise<Record<string, number>> {
    const { rows } = await this.pool.query<{ status: string; n: number }>(
      'select status, count(*)::int as n from deliveries group by status',
    );
    return Object.fromEntries(rows.map(({ status, n }) => [status, n]));
  }

  /** As if the time of the next try had come. */
  async makeDue(): Promise<void> {
    await this.pool.query('update deliveries set next_try_at = now()');
    this.wake();
  }
}
