import { HeddleError } from '../errors.js';

/** One line of JSON on standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** An error as `--json` shows it. */
export function errorJson(error: unknown): { code: string; message: string } {
  const { code, message } = error as { code?: string; message?: string };
  return { code: code ?? 'ERR_HEDDLE_INTERNAL', message: message ?? String(error) };
}

/** One clear message on standard error; with `json` also as an object on standard output. Stacks only for faults of heddle's own. */
export function reportError(error: unknown, json: boolean): void {
  if (json) printJson({ error: errorJson(error) });
  const known = error instanceof HeddleError && error.code !== 'ERR_HEDDLE_INTERNAL';
  process.stderr.write(`heddle: ${known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
}
