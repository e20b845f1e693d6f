import { AdapterError } from '../errors.js';
import { LinearPattern } from './linear_pattern.js';

const plain = /^\^?[\w.-]*\$?$/;
const most = 10_000;
const longestPath = 1000;

/** Whether a module path is this name, or ends in it behind a dot: how PEFT's lists name modules. */
export const endsIn = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`);

/**
 * PEFT's rank_pattern and alpha_pattern: keys are regular expressions for the end of a module path, from a dot or the start,
 * and the first that matches counts.
 */
export class ModulePattern {
  private readonly entries: { value: number; matches: (path: string) => boolean }[];

  constructor(option: string, values: Readonly<Record<string, number>>, adapter: string) {
    const all = Object.entries(values);
    if (all.length > most)
      throw new AdapterError(`${adapter}: ${option} has ${all.length} keys, at most ${most} are read`, {
        option,
        actual: all.length,
        expected: most,
      });
    this.entries = all.map(([key, value]) => {
      // Keys without repetition, by far the most, are safe and fast with the built-in expressions.
      if (plain.test(key)) {
        const expression = new RegExp(`^(?:.*\\.)?(?:${key})$`);
        return { value, matches: (path) => expression.test(path) };
      }
      try {
        const pattern = new LinearPattern(`(.*\\.)?(${key})`);
        return { value, matches: (path) => pattern.matches(path) };
      } catch (error) {
        const reason = (error as Error).message;
        throw new AdapterError(
          `${adapter}: ${option} has the key '${key}', which cannot be used: ${reason}`,
          { option, key },
          { cause: error },
        );
      }
    });
  }

  /** The value for a module path, or undefined when no key matches. */
  find(path: string): number | undefined {
    if (path.length > longestPath) return undefined;
    return this.entries.find(({ matches }) => matches(path))?.value;
  }
}
