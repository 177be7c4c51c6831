import * as z from 'zod';

/** JSON Schema 2020-12, as OpenAPI 3.1 uses it. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  pattern?: string;
  maxLength?: number;
  minLength?: number;
  minimum?: number;
  maximum?: number;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  examples?: unknown[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  [keyword: string]: unknown;
}

/** These formats say all that zod's long patterns say. */
const TELLING_FORMATS = new Set(['uuid', 'date', 'email']);
const UTC_INSTANT = '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?Z$';

/** Translates zod schemas; those with an `id` in their meta become components, each described once. */
export class Schemas {
  readonly components: Record<string, JsonSchema> = {};

  /** @throws when a string has no bound, or two different schemas have one id */
  translate(schema: z.ZodType, io: 'input' | 'output', where: string): JsonSchema {
    // Inside another schema also the outermost one becomes a reference, if it has an id.
    const wrapped = z.object({ schema });
    const { $defs = {}, properties } = z.toJSONSchema(wrapped, { io, unrepresentable: 'any' }) as JsonSchema & {
      $defs?: Record<string, JsonSchema>;
    };
    for (const [id, definition] of Object.entries($defs)) this.#define(id, tidy(definition, id));
    return tidy(properties?.schema ?? {}, where);
  }

  /** The schema that a reference stands for, or the schema itself. */
  resolve(schema: JsonSchema): JsonSchema {
    const id = schema.$ref?.split('/').at(-1);
    return id === undefined ? schema : (this.components[id] ?? {});
  }

  #define(id: string, definition: JsonSchema): void {
    const known = this.components[id];
    if (known && JSON.stringify(known) !== JSON.stringify(definition)) throw new Error(`Two schemas have the id ${id}`);
    this.components[id] = definition;
  }
}

/** Adapts a schema to OpenAPI, all the way down, and sees to it that every string is bounded. */
function tidy(schema: JsonSchema, where: string): JsonSchema {
  const { $ref, format, pattern, properties, items, additionalProperties, anyOf, oneOf, allOf, ...rest } = schema;
  const within = (part: JsonSchema | undefined, name: string) => part && tidy(part, `${where}.${name}`);
  const each = (parts: JsonSchema[] | undefined, name: string) => parts?.map((part, at) => tidy(part, `${where}.${name}${at}`));
  const tidied: JsonSchema = {
    ...rest,
    $ref: $ref?.replace('#/$defs/', '#/components/schemas/'),
    format,
    pattern: format === 'date-time' ? UTC_INSTANT : TELLING_FORMATS.has(format ?? '') ? undefined : pattern,
    properties:
      properties &&
      Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, tidy(property, `${where}.${name}`)])),
    items: within(items, 'items'),
    additionalProperties: typeof additionalProperties === 'object' ? within(additionalProperties, '*') : additionalProperties,
    anyOf: each(anyOf, 'anyOf'),
    oneOf: each(oneOf, 'oneOf'),
    allOf: each(allOf, 'allOf'),
  };
  // Keys without a value would make equal schemas look different.
  const result = JSON.parse(JSON.stringify(tidied)) as JsonSchema;
  assertBounded(result, where);
  return result;
}

/** Fuzzers, databases and readers ask alike: how long can it get? */
function assertBounded({ type, maxLength, enum: values, const: value }: JsonSchema, where: string): void {
  const isText = type === 'string' || (Array.isArray(type) && type.includes('string'));
  if (isText && maxLength === undefined && !values && value === undefined)
    throw new Error(`${where} is a string without a maximum length`);
}

/**
 * A value that keeps to the schema: from its `examples`, `default` or choices where it has them.
 * @throws when a string has a pattern and no example
 */
export function exampleOf(schema: JsonSchema, schemas: Schemas, where: string): unknown {
  const { type, examples, default: usual, enum: values, const: value, anyOf, oneOf, items, properties } = schemas.resolve(schema);
  const known = examples?.[0] ?? usual ?? values?.[0] ?? value;
  if (known !== undefined) return known;
  const [choice] = anyOf ?? oneOf ?? [];
  if (choice) return exampleOf(choice, schemas, where);
  if (type === 'object' && properties) {
    return Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, exampleOf(property, schemas, `${where}.${name}`)]),
    );
  }
  if (type === 'array' && items) return [exampleOf(items, schemas, where)];
  if (type === 'integer' || type === 'number') return schema.minimum !== undefined && schema.minimum > 0 ? schema.minimum : 1;
  if (type === 'boolean') return true;
  if (type === 'object') return {};
  throw new Error(`${where} has no example: give its schema .meta({ examples: […] })`);
}
