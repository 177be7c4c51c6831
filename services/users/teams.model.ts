import { DataTypes } from 'sequelize';
import { batch } from '../../mixins/db/batch';
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

/** Teams that are made in the same transaction as the people in them. */
export const newTeams = batch<{ id: string; companyId: string; name: string }>(
  'teams.new',
  `insert into teams (id, company_id, name) select id, "companyId", name
   from jsonb_to_recordset($rows::jsonb) as team(id uuid, "companyId" uuid, name text)`,
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
