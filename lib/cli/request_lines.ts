import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { z } from 'zod';
import { toAccessError } from '../checkpoint/json.js';
import { OptionError } from '../errors.js';
import { parseOptions } from '../runtime/parse_options.js';

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
  const input = file === '-' ? process.stdin : createReadStream(file);
  const requests: RequestLine<z.input<S>>[] = [];
  let line = 0;
  try {
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line++;
      // Editors of other systems begin a file with a mark.
      const bare = line === 1 ? text.replace(/^\ufeff/, '') : text;
      if (bare.trim() !== '') requests.push(parseLine(bare, { name: file === '-' ? 'standard input' : file, line }, schema));
    }
  } catch (error) {
    throw toAccessError(error, 'read', file);
  }
  return requests;
}

function parseLine<S extends z.ZodType>(text: string, file: { name: string; line: number }, schema: S): RequestLine<z.input<S>> {
  const where = `${file.name}:${file.line}`;
  const refuse = (message: string, cause?: unknown): never => {
    throw new OptionError(`${where}${message}`, { file: file.name, line: file.line }, { cause });
  };
  if (text.length > longestLine) refuse(` has ${text.length} characters: expected at most ${longestLine}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    refuse(` is no JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(': expected a JSON object');
  const { id, ...request } = value as Record<string, unknown>;
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') refuse(`: id is ${JSON.stringify(id)}: expected a string`);
  const common = { id: String(id ?? file.line), where, adapter: request.adapter ?? null, request: request as z.input<S> };
  try {
    parseOptions(schema, request, 'the request');
    return common;
  } catch (problem) {
    return { ...common, problem };
  }
}
