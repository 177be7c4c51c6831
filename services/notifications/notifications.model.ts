import { DataTypes } from 'sequelize';
import { table } from '../../mixins/db/model';

export interface NotificationRow {
  id: string;
  companyId: string;
  userId: string;
  kind: string;
  params: object;
  urgent: boolean;
  dedupeKey: string;
  sealed: string | null;
  expiresAt: string | null;
  createdAt?: string;
}

export const notifications = table<NotificationRow>('notifications', {
  id: { type: DataTypes.UUID, primaryKey: true },
  companyId: DataTypes.UUID,
  userId: DataTypes.UUID,
  kind: DataTypes.TEXT,
  params: DataTypes.JSONB,
  urgent: DataTypes.BOOLEAN,
  dedupeKey: DataTypes.TEXT,
  sealed: DataTypes.TEXT,
  expiresAt: DataTypes.DATE,
  createdAt: { type: DataTypes.DATE, defaultValue: DataTypes.NOW },
});
