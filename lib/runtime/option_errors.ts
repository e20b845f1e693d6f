import { OptionError } from '../errors.js';
import { shownValue } from './shown_value.js';
import { suggest } from './suggest.js';

/** The error for a name that `where` does not have: the nearest of `known`, or all of them. @param kind what is named, such as 'option' */
export function unknownName(where: string, kind: string, name: string, known: readonly string[]): OptionError {
  const near = suggest(name, known);
  const all = known.length === 0 ? 'it has none' : `expected one of ${known.join(', ')}`;
  return new OptionError(`${where} has no ${kind} '${name}': ${near === undefined ? all : `did you mean '${near}'?`}`, {
    option: name,
    suggestion: near,
    known,
  });
}

/** Throws OptionError unless `value` is an object (or left out) with no other keys than `known`. Cheap: called for every run of a program. */
export function expectKnownKeys(value: object | undefined, known: readonly string[], where: string, kind = 'option'): void {
  if (value === undefined) return;
  if (typeof value !== 'object' || value === null)
    throw new OptionError(`${where} is ${shownValue(value)}: expected an object${known.length === 0 ? '' : ` with ${known.join(', ')}`}`, {
      actual: value,
    });
  for (const name in value) if (!known.includes(name)) throw unknownName(where, kind, name, known);
}
