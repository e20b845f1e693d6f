import { toAccessError } from '../checkpoint/json.js';
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
  sayLine(`heddle: ${where === undefined ? '' : `${where}: `}${text}`);
}

/** A line on standard error, without what steers a terminal: messages show names and values from files of strangers. */
export function sayLine(text: string): void {
  process.stderr.write(`${printable(text)}\n`);
}

let goesOn = false;

/** The work of this command is worth more than what it prints: it goes on where output cannot be written. */
export function goOnWithoutOutput(): void {
  goesOn = true;
}

/** Ends a command whose output cannot be written, unless it goes on. A reader that has seen enough (head, less) and closes the pipe is no error. */
export function watchOutput(): void {
  let said = false;
  for (const [name, stream] of [['standard output', process.stdout] as const, ['standard error', process.stderr] as const])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      const unread = error.code === 'EPIPE';
      if (!unread) process.exitCode = 1;
      // Said once: standard error may be what cannot be written.
      if (!unread && !said) {
        said = true;
        sayError(toAccessError(error, 'write', name));
      }
      if (!goesOn) process.exit(unread ? 0 : 1);
    });
}

/** What a command ends with after this error: 130 when it was interrupted. */
export function exitCodeOf(error: unknown): number {
  return error instanceof AbortError || (error as Error | undefined)?.name === 'AbortError' ? 130 : 1;
}
