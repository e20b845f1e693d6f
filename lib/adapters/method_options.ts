import type { z } from 'zod';
import { AdapterError } from '../errors.js';
import { shownValue, valueAt } from '../runtime/shown_value.js';

/** Checks the options of adapter_config.json against a schema. Throws AdapterError that names the first one that does not fit. */
export function readMethodOptions<Schema extends z.ZodType>(
  schema: Schema,
  raw: Readonly<Record<string, unknown>>,
  adapter: string,
): z.infer<Schema> {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const option = path.join('.');
  const actual = valueAt(raw, path);
  throw new AdapterError(`${adapter}: ${option} is ${shownValue(actual, 'missing')}: ${issue?.message}`, { option, actual });
}

/** Throws AdapterError for an option with a value that changes results and is not supported. */
export function refuseOption(adapter: string, option: string, actual: unknown, meaning: string): never {
  throw new AdapterError(`${adapter}: ${option} is ${shownValue(actual, 'missing')}: ${meaning}`, { option, actual });
}
