import type pg from 'pg';
import type { Sequelize } from 'sequelize';

/** How many connections of a pool do what. */
export interface PoolUse {
  pool: string;
  idle: number;
  busy: number;
  /** Work that waits for one. */
  waiting: number;
}

export function useOfPg(pool: string, { totalCount, idleCount, waitingCount }: pg.Pool): PoolUse {
  return { pool, idle: idleCount, busy: totalCount - idleCount, waiting: waitingCount };
}

/** What Sequelize does not publish of its pool, which is one of sequelize-pool. */
interface Inner {
  connectionManager: { pool: { available: number; using: number; waiting: number } };
}

export function useOfSequelize(pool: string, sequelize: Sequelize): PoolUse {
  const { available, using, waiting } = (sequelize as unknown as Inner).connectionManager.pool;
  return { pool, idle: available, busy: using, waiting };
}
