// The thread that renders chat templates. A template may loop, recurse and multiply text: everything it makes is counted.
import * as jinja from '@huggingface/jinja';
import { TokenizerError } from '../errors.js';
import { serve } from './thread_entry.js';

/** What the thread is asked. */
export interface TemplateJob {
  source: string;
  variables: Record<string, unknown>;
}

const maxOutput = 4 * 1024 * 1024;
const maxItems = 262_144;
const maxMade = 64 * 1024 * 1024;
const maxSteps = 4_000_000;
const maxRange = 100_000;
const maxParsed = 16;

interface Value {
  value: unknown;
}

interface Statement {
  type: string;
}

interface Scope {
  set(name: string, value: unknown): void;
}

// The package's type declarations do not resolve under Node's module rules.
const { Environment, Interpreter, parse, tokenize } = jinja as unknown as {
  Environment: new () => Scope;
  Interpreter: new (scope: Scope) => { evaluate(statement: Statement | undefined, scope: Scope): Value; run(program: Statement): Value };
  tokenize(source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): unknown[];
  parse(tokens: unknown[]): Statement;
};

function tooMuch(what: string, limit: number): never {
  throw new TokenizerError(`the template makes more than ${limit} ${what}`, { rule: 'limit', limit });
}

// These look up what exists already; all other nodes make something new.
const lookups = new Set(['Identifier', 'MemberExpression', 'StringLiteral', 'IntegerLiteral', 'FloatLiteral', 'Comment']);

/** Counts steps, and characters and items made: no value, and no sum of values, outgrows its limit by more than one step. */
class CountingInterpreter extends Interpreter {
  #steps = 0;
  #made = 0;

  override evaluate(statement: Statement | undefined, scope: Scope): Value {
    if (++this.#steps > maxSteps) tooMuch('steps', maxSteps);
    const result = super.evaluate(statement, scope);
    if (statement !== undefined && !lookups.has(statement.type)) this.#count(result);
    return result;
  }

  #count({ value }: Value): void {
    if (typeof value === 'string') {
      if (value.length > maxOutput) tooMuch('characters', maxOutput);
      this.#made += value.length;
    } else if (Array.isArray(value)) {
      if (value.length > maxItems) tooMuch('items', maxItems);
      this.#made += value.length * 8;
    } else if (value instanceof Map) {
      this.#made += value.size * 8;
    }
    if (this.#made > maxMade) tooMuch('characters in all', maxMade);
  }
}

/** The methods by which the library makes long text out of short text, in this thread: they refuse before they allocate. */
function limitTextMethods(): void {
  const { repeat, replaceAll, split } = String.prototype;
  const { join } = Array.prototype;
  String.prototype.repeat = function (count) {
    if (this.length * count > maxOutput) tooMuch('characters', maxOutput);
    return repeat.call(this, count);
  };
  String.prototype.replaceAll = function (this: string, pattern: string | RegExp, replacement: string | ((...found: string[]) => string)) {
    let length = this.length;
    return (replaceAll as (pattern: unknown, replacement: unknown) => string).call(this, pattern, (...found: string[]) => {
      const text = typeof replacement === 'function' ? replacement(...found) : replacement;
      length += text.length;
      if (length > maxOutput * 2) tooMuch('characters', maxOutput);
      return text;
    });
  } as typeof replaceAll;
  String.prototype.split = function (this: string, separator: string | RegExp, limit?: number) {
    const parts = (split as (separator: unknown, limit?: number) => string[]).call(
      this,
      separator,
      Math.min(limit ?? maxItems + 1, maxItems + 1),
    );
    if (parts.length > maxItems) tooMuch('items', maxItems);
    return parts;
  } as typeof split;
  Array.prototype.join = function (separator = ',') {
    let length = 0;
    for (const item of this) length += (typeof item === 'string' ? item.length : 16) + separator.length;
    if (length > maxOutput * 2) tooMuch('characters', maxOutput);
    return join.call(this, separator);
  };
}

function range(...bounds: unknown[]): number[] {
  const [start, stop, step] = bounds.length < 2 ? [0, bounds[0], 1] : [bounds[0], bounds[1], bounds[2] ?? 1];
  for (const bound of [start, stop, step])
    if (!Number.isInteger(bound)) throw new TokenizerError(`range(${bounds.map(String).join(', ')}): expected integers`, { rule: 'range' });
  const [from, to, by] = [start as number, stop as number, step as number];
  if (by === 0) throw new TokenizerError('range() with step 0', { rule: 'range' });
  const count = Math.max(0, Math.ceil((to - from) / by));
  if (count > maxRange) tooMuch('numbers in a range', maxRange);
  return Array.from({ length: count }, (_, i) => from + i * by);
}

const english = (options: Intl.DateTimeFormatOptions): ((date: Date) => string) => {
  const format = new Intl.DateTimeFormat('en-US', options);
  return (date) => format.format(date);
};
const digits = (value: number, width = 2): string => String(value).padStart(width, '0');
const dateParts: Record<string, (date: Date) => string> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => digits(date.getFullYear() % 100),
  m: (date) => digits(date.getMonth() + 1),
  d: (date) => digits(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2, ' '),
  H: (date) => digits(date.getHours()),
  I: (date) => digits(date.getHours() % 12 || 12),
  M: (date) => digits(date.getMinutes()),
  S: (date) => digits(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  j: (date) =>
    digits(
      Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000),
      3,
    ),
  a: english({ weekday: 'short' }),
  A: english({ weekday: 'long' }),
  b: english({ month: 'short' }),
  B: english({ month: 'long' }),
  '%': () => '%',
};

/** The current local time in the words of Python's strftime; a dash drops a leading zero. */
function strftimeNow(format: unknown): string {
  const now = new Date();
  return String(format).replace(/%(-?)([a-zA-Z%])/g, (found, dash: string, letter: string) => {
    const text = dateParts[letter]?.(now);
    return text === undefined ? found : dash === '' ? text : text.replace(/^[0 ](?=.)/, '');
  });
}

const parsed = new Map<string, Statement>();

function programOf(source: string): Statement {
  let program = parsed.get(source);
  if (program === undefined) {
    try {
      program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
    } catch (error) {
      // The library reads past the last token where a tag or a block is left open.
      const reason = error instanceof TypeError ? 'a tag or a block is not closed' : (error as Error).message;
      throw new TokenizerError(`the template is not valid: ${reason}`, { rule: 'syntax' }, { cause: error });
    }
    if (parsed.size >= maxParsed) parsed.delete(parsed.keys().next().value as string);
    parsed.set(source, program);
  }
  return program;
}

function render({ source, variables }: TemplateJob): string {
  const program = programOf(source);
  const environment = new Environment();
  for (const [yes, no, nothing] of [
    ['true', 'false', 'none'],
    ['True', 'False', 'None'],
  ] as const) {
    environment.set(yes, true);
    environment.set(no, false);
    environment.set(nothing, null);
  }
  environment.set('range', range);
  environment.set('strftime_now', strftimeNow);
  environment.set('raise_exception', (message: unknown) => {
    throw new TokenizerError(`the template refused the conversation: ${String(message).slice(0, 1000)}`, { rule: 'raised' });
  });
  try {
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    return new CountingInterpreter(environment).run(program).value as string;
  } catch (error) {
    if (error instanceof TokenizerError) throw error;
    const rule = error instanceof RangeError ? 'limit' : 'render';
    throw new TokenizerError(`the template cannot be rendered: ${(error as Error).message}`, { rule }, { cause: error });
  }
}

limitTextMethods();
serve<undefined, true, TemplateJob>(
  () => ({ state: true, ready: { value: undefined, transfer: [] } }),
  (_, job) => ({ value: render(job), transfer: [] }),
);
