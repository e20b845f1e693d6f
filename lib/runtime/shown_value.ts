import { inspect } from 'node:util';
import { isPlainObject } from './plain_object.js';

const notInJson = '\0';
const longest = 96;

/** A value of a file or an option as messages show it: as JSON, with what JSON does not have, cut where it is long. `absent`: of undefined. */
export function shownValue(value: unknown, absent = 'undefined'): string {
  if (value === undefined) return absent;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !isPlainObject(value))
    return `a ${value.constructor?.name ?? 'object'}`;
  const text = jsonOf(value).replaceAll(/"\\u0000(-?Infinity|NaN)"/g, '$1');
  return text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
}

function jsonOf(value: unknown): string {
  try {
    const text = JSON.stringify(value, (_, item: unknown) =>
      typeof item === 'number' && !Number.isFinite(item) ? `${notInJson}${item}` : item,
    );
    return text ?? String(value);
  } catch {
    // A BigInt, an object that holds itself, or nesting deeper than the stack.
    return inspect(value, { depth: 2, breakLength: Number.POSITIVE_INFINITY });
  }
}

/** What lies at a path of keys in a value; undefined where nothing does. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key], value);
}
