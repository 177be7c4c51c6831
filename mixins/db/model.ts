import type { ModelAttributeColumnOptions, ModelStatic, Sequelize } from 'sequelize';

/** One table for Sequelize: what transactions insert, update and delete through. `Row` has camelCase keys. */
export interface Table<Row extends object> {
  readonly name: string;
  readonly attributes: { readonly [K in keyof Row]-?: ModelAttributeColumnOptions | ModelAttributeColumnOptions['type'] };
  /** Rows carry `version` and `updatedAt`: every update counts the one up and stamps the other. */
  readonly versioned: boolean;
  /** Never there; binds the type of rows to the table. */
  readonly row?: Row;
}

/**
 * Declares a table for use in transactions. Columns are the snake_case of the attributes; the schema itself is made by
 * migrations, and a test compares the two.
 */
export function table<Row extends object>(
  name: string,
  attributes: Table<Row>['attributes'],
  options: { versioned?: boolean } = {},
): Table<Row> {
  return { name, attributes, versioned: options.versioned ?? false };
}

/** The Sequelize model of a table on one connection pool, defined at its first use. */
export function modelOf<Row extends object>(sequelize: Sequelize, of: Table<Row>): ModelStatic<import('sequelize').Model> {
  if (sequelize.isDefined(of.name)) return sequelize.model(of.name);
  // A fresh options object for each attribute: Sequelize writes the column's name into the one that it is given.
  const attributes = Object.fromEntries(
    Object.entries(of.attributes).map(([key, value]) => [key, isColumnOptions(value) ? { ...value } : { type: value as never }]),
  );
  return sequelize.define(of.name, attributes, {
    tableName: of.name,
    underscored: true,
    timestamps: false,
  });
}

/** Types are class instances, and some of them have a `type` too: an array's is that of its elements. */
function isColumnOptions(value: unknown): value is ModelAttributeColumnOptions {
  return Object.getPrototypeOf(value) === Object.prototype;
}
