import { z } from 'zod';
import { OptionError } from '../errors.js';
import { unknownName } from './option_errors.js';
import { isPlainObject } from './plain_object.js';
import { shownValue } from './shown_value.js';

/** The name that no record can hold: setting it on an object changes its prototype instead. */
export const unusableKey = '__proto__';

/** Checks what a user passed against a schema. Throws OptionError naming the option, its value and what was expected. */
export function parseOptions<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    expectRealKeys(value, what);
    return parsed.data;
  }
  const issue = deepest(parsed.error.issues[0] as z.core.$ZodIssue);
  const at = [what, ...issue.path].join('.');
  if (issue.code === 'unrecognized_keys') {
    const [name] = issue.keys as [string];
    throw unknownName(at, 'option', name, keysAt(schema, issue.path));
  }
  if (issue.code === 'invalid_key') {
    const key = String(issue.path.at(-1));
    const message = issue.issues[0]?.message ?? issue.message;
    throw new OptionError(`${[what, ...issue.path.slice(0, -1)].join('.')} has the key '${key}': ${message}`, {
      option: issue.path.join('.'),
      actual: key,
    });
  }
  const actual = issue.path.reduce<unknown>((v, key) => (v as Record<PropertyKey, unknown> | undefined)?.[key], value);
  throw new OptionError(`${at} is ${shownValue(actual)}: ${issue.message}`, { option: issue.path.join('.'), actual });
}

// What an object at `path` may have; of a union, what any of its alternatives may.
function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) return keysAt(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => keysAt(option, path));
  const [key, ...rest] = path;
  if (schema instanceof z.ZodRecord) return key === undefined ? [] : keysAt(schema.valueType, rest);
  if (schema instanceof z.ZodArray) return typeof key === 'number' ? keysAt(schema.element, rest) : [];
  if (!(schema instanceof z.ZodObject)) return [];
  if (key === undefined) return Object.keys(schema.shape);
  const inner = schema.shape[key as string] as z.core.$ZodType | undefined;
  return inner === undefined ? [] : keysAt(inner, rest);
}

// Of the alternatives of a union, the one that got furthest tells most.
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().map(deepest);
  const first = inner.find((i) => i.path.length > 0);
  return first === undefined ? issue : { ...first, path: [...issue.path, ...first.path] };
}

// Records leave this key out without a word: what stands under it would be missing.
function expectRealKeys(value: unknown, what: string): void {
  const open: [at: string, value: unknown][] = [[what, value]];
  for (const [at, item] of open) {
    if (!isPlainObject(item)) continue;
    if (Object.hasOwn(item, unusableKey))
      throw new OptionError(`${at} has the key '${unusableKey}': expected another name`, {
        option: at.slice(what.length + 1),
        actual: unusableKey,
      });
    for (const [key, inner] of Object.entries(item)) if (typeof inner === 'object') open.push([`${at}.${key}`, inner]);
  }
}
