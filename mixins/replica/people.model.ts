import { DataTypes } from 'sequelize';
import { table } from '../db/model';

/** The copy of people, for a service that has no table of its own. Written by the replica only. */
export const people = table<{ id: string; companyId: string; version: number }>('user_infos', {
  id: { type: DataTypes.UUID, primaryKey: true },
  companyId: DataTypes.UUID,
  version: DataTypes.INTEGER,
});
