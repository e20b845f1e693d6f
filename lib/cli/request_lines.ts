import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { FileAccessError, OptionError } from '../errors.js';

/** A request of a JSONL file, with the id that its answer carries. */
export interface RequestLine {
  readonly id: string;
  readonly line: number;
  readonly request: Record<string, unknown>;
}

const longestLine = 64 * 2 ** 20;

/** Reads requests, one JSON object per line; `-` is standard input. Blank lines are skipped; the id is the line number where none is given. */
export async function readRequests(file: string): Promise<RequestLine[]> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  const requests: RequestLine[] = [];
  let line = 0;
  try {
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line++;
      if (text.trim() !== '') requests.push(parseLine(text, file, line));
    }
  } catch (error) {
    if (error instanceof OptionError) throw error;
    throw new FileAccessError(`cannot read ${file}: ${(error as Error).message}`, { file }, { cause: error });
  }
  return requests;
}

function parseLine(text: string, file: string, line: number): RequestLine {
  if (text.length > longestLine) throw new OptionError(`${file}:${line} has ${text.length} characters: expected at most ${longestLine}`, { file, line });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OptionError(`${file}:${line} is no JSON: ${(cause as Error).message}`, { file, line }, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new OptionError(`${file}:${line}: expected a JSON object`, { file, line });
  const { id, ...request } = value as Record<string, unknown>;
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') throw new OptionError(`${file}:${line}: id is ${JSON.stringify(id)}: expected a string`, { file, line });
  return { id: String(id ?? line), line, request };
}
