/** A value of a file or an option as messages show it: as JSON, with the numbers that JSON does not have, cut where it is long. */
export function shownValue(value: unknown): string {
  const text = JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? `${notInJson}${item}` : item,
  );
  if (text === undefined) return 'missing';
  const spelled = text.replaceAll(/"\\u0000(-?Infinity|NaN)"/g, '$1');
  return spelled.length > longest ? `${spelled.slice(0, longest - 3)}...` : spelled;
}

const notInJson = '\0';
const longest = 96;

/** What lies at a path of keys in a value; undefined where nothing does. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key], value);
}
