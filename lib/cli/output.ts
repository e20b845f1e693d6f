import { AbortError, HeddleError } from '../errors.js';
import { printable } from './display_width.js';

/** One line of JSON on standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Text of a model on standard output: as it is in a pipe, without what steers a terminal on one. */
export function printText(text: string): void {
  process.stdout.write(process.stdout.isTTY ? printable(text) : text);
}

/** An error as `--json` shows it; `where` says which request it is about. */
export function errorJson(error: unknown, where?: string): { code: string; message: string } {
  const { code, message } = error as { code?: string; message?: string };
  return { code: code ?? 'ERR_HEDDLE_INTERNAL', message: `${where === undefined ? '' : `${where}: `}${message ?? String(error)}` };
}

/** One clear message on standard error; with `json` also as an object on standard output. Stacks only for faults of heddle's own. */
export function reportError(error: unknown, json: boolean): void {
  if (json) printJson({ error: errorJson(error) });
  sayError(error);
}

/** One clear message on standard error; `where` says which request it is about. */
export function sayError(error: unknown, where?: string): void {
  const known = error instanceof HeddleError && error.code !== 'ERR_HEDDLE_INTERNAL';
  const text = error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`heddle: ${where === undefined ? '' : `${where}: `}${text}\n`);
}

/** What a command ends with after this error: 130 when it was interrupted. */
export function exitCodeOf(error: unknown): number {
  return error instanceof AbortError || (error as Error | undefined)?.name === 'AbortError' ? 130 : 1;
}
