import { DataTypes } from 'sequelize';
import { table } from '../../mixins/db/model';

export interface TeamRow {
  id: string;
  companyId: string;
  name: string;
  version?: number;
  updatedAt?: string;
}

export const teams = table<TeamRow>(
  'teams',
  {
    id: { type: DataTypes.UUID, primaryKey: true },
    companyId: DataTypes.UUID,
    name: DataTypes.TEXT,
    version: { type: DataTypes.INTEGER, defaultValue: 1 },
    updatedAt: { type: DataTypes.DATE, defaultValue: DataTypes.NOW },
  },
  { versioned: true },
);

export interface TeamManagerRow {
  companyId: string;
  teamId: string;
  userId: string;
}

export const teamManagers = table<TeamManagerRow>('team_managers', {
  companyId: { type: DataTypes.UUID, primaryKey: true },
  teamId: { type: DataTypes.UUID, primaryKey: true },
  userId: { type: DataTypes.UUID, primaryKey: true },
});
