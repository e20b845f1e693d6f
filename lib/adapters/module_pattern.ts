import { Script } from 'node:vm';
import { AdapterError } from '../errors.js';

const plain = /^\^?[\w.\\-]*\$?$/;
const timeoutMs = 50;

/**
 * PEFT's rank_pattern and alpha_pattern: keys are regular expressions (Python's) for the end of a module path, and the
 * first that matches counts. Expressions come from strangers: those that could take exponential time run under a time limit.
 */
export class ModulePattern {
  private readonly entries: { key: string; value: number; source: string; expression: RegExp }[];

  constructor(
    private readonly option: string,
    values: Readonly<Record<string, number>>,
    private readonly adapter: string,
  ) {
    this.entries = Object.entries(values).map(([key, value]) => {
      // Python spells named groups and the ends of a string differently.
      const source = `^(?:.*\\.)?(?:${key.replaceAll('(?P<', '(?<').replaceAll('\\Z', '$').replaceAll('\\A', '^')})$`;
      try {
        return { key, value, source, expression: new RegExp(source, 's') };
      } catch (error) {
        throw new AdapterError(
          `${adapter}: ${option} has the key '${key}', which is no regular expression: ${(error as Error).message}`,
          { option, key },
          { cause: error },
        );
      }
    });
  }

  /** The value for a module path, or undefined when no key matches. */
  find(path: string): number | undefined {
    return this.entries.find((entry) => (plain.test(entry.key) ? entry.expression.test(path) : this.matchWithLimit(entry, path)))?.value;
  }

  private matchWithLimit({ key, source }: { key: string; source: string }, path: string): boolean {
    const script = new Script(`new RegExp(${JSON.stringify(source)}, 's').test(${JSON.stringify(path)})`);
    try {
      return script.runInNewContext({}, { timeout: timeoutMs }) as boolean;
    } catch (error) {
      const limit = `${timeoutMs} ms`;
      throw new AdapterError(
        `${this.adapter}: ${this.option} has the key '${key}', which takes more than ${limit} to match`,
        { option: this.option, key },
        { cause: error },
      );
    }
  }
}
