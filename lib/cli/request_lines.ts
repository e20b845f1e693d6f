import type { z } from 'zod';
import { OptionError } from '../errors.js';
import { parseOptions } from '../runtime/parse_options.js';
import { shownValue } from '../runtime/shown_value.js';
import { readLines, type TextLine } from '../text/text_lines.js';

/** A request of a JSONL file, with the id that its answer carries. */
export interface RequestLine<Request> {
  readonly id: string;
  /** `file:line`, for messages. */
  readonly where: string;
  /** What its answer says of the adapter. */
  readonly adapter: unknown;
  readonly request: Request;
  /** Why it cannot run: it fails alone. */
  readonly problem?: unknown;
}

const longestLine = 64 * 2 ** 20;

/**
 * Reads requests, one JSON object per line; `-` is standard input. Blank lines are skipped; the id is the line number where none is given.
 * A line that is no JSON object means that the file is something else: OptionError. A field that `schema` refuses is the request's own problem.
 */
export async function readRequests<S extends z.ZodType>(file: string, schema: S): Promise<RequestLine<z.input<S>>[]> {
  const name = file === '-' ? 'standard input' : file;
  const requests: RequestLine<z.input<S>>[] = [];
  for await (const line of readLines(name, longestLine, file === '-' ? { input: process.stdin } : {}))
    if (line.problem !== undefined || line.text.trim() !== '') requests.push(parseLine(line, name, schema));
  return requests;
}

function parseLine<S extends z.ZodType>({ text, number, problem: unreadable }: TextLine, file: string, schema: S): RequestLine<z.input<S>> {
  const where = `${file}:${number}`;
  const refuse = (message: string, cause?: unknown): never => {
    throw new OptionError(`${where}${message}`, { file, line: number }, { cause });
  };
  if (unreadable !== undefined) refuse(`: ${unreadable}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    refuse(` is no JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(': expected a JSON object');
  const { id, ...request } = value as Record<string, unknown>;
  // Some writers give what is missing as null.
  const given = id === null ? undefined : id;
  const named = typeof given === 'string' || typeof given === 'number';
  const adapter = isNested(request.adapter, adapterDepth) ? shownValue(request.adapter) : (request.adapter ?? null);
  const common = { id: String(named ? given : number), where, adapter, request: request as z.input<S> };
  try {
    if (!named && given !== undefined)
      throw new OptionError(`the request.id is ${shownValue(given)}: expected a string or a number`, { option: 'id' });
    parseOptions(schema, request, 'the request');
    return common;
  } catch (problem) {
    return { ...common, problem };
  }
}

// A list of objects: what is deeper is no adapter, and may be too deep to be written again.
const adapterDepth = 2;

function isNested(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((item) => isNested(item, levels - 1));
}
