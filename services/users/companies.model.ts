import { DataTypes } from 'sequelize';
import { table } from '../../mixins/db/model';
import type { Locale } from '../../mixins/fields';

export interface CompanyRow {
  id: string;
  name: string;
  timeZone: string;
  locale: Locale;
  workingWeek?: number[];
  version?: number;
  updatedAt?: string;
}

export const companies = table<CompanyRow>(
  'companies',
  {
    id: { type: DataTypes.UUID, primaryKey: true },
    name: DataTypes.TEXT,
    timeZone: DataTypes.TEXT,
    locale: DataTypes.TEXT,
    workingWeek: DataTypes.ARRAY(DataTypes.SMALLINT),
    version: { type: DataTypes.INTEGER, defaultValue: 1 },
    updatedAt: { type: DataTypes.DATE, defaultValue: DataTypes.NOW },
  },
  { versioned: true },
);
