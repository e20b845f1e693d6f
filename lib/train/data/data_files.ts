// The files of a data set: what they are, and their examples one by one.
import { realpath, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { toAccessError } from '../../checkpoint/json.js';
import { FileAccessError, OptionError } from '../../errors.js';
import { type ReadOptions, readLines } from '../../text/text_lines.js';
import type { DataSettings } from './data_options.js';
import { BadExample, type Example, parseExample } from './example_line.js';

/** A file to read. */
export interface DataFile {
  readonly path: string;
  readonly bytes: number;
  readonly format: 'jsonl' | 'text';
}

/** An example with its place, or why there is none. */
export interface PlacedExample {
  readonly file: string;
  /** Line where it begins, from 1. */
  readonly line: number;
  readonly example: Example | BadExample;
}

// What a tokenizer takes at once.
const maxDocument = 64 * 1024 * 1024;

const formats: Record<string, DataFile['format']> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'jsonl',
  '.txt': 'text',
  '.text': 'text',
  '.md': 'text',
};

/** Looks at files before they are read. Throws FileAccessError for one that is missing or no regular file. */
export async function openFiles(paths: readonly string[], { format, maxLineBytes }: DataSettings): Promise<DataFile[]> {
  const files: DataFile[] = [];
  for (const path of paths) {
    const facts = await stat(path).catch((error: unknown) => {
      throw toAccessError(error, 'read', path);
    });
    if (!facts.isFile()) throw new FileAccessError(`cannot read ${path}: expected a regular file`, { file: path });
    const named = format === 'auto' ? formats[extname(path).toLowerCase()] : format;
    files.push({ path, bytes: facts.size, format: named ?? (await formatByContent(path, maxLineBytes)) });
  }
  return files;
}

/** Throws OptionError where a file is among both. */
export async function checkDisjoint(training: readonly DataFile[], evaluation: readonly DataFile[]): Promise<void> {
  const known = new Set(await Promise.all(training.map(({ path }) => realpath(path))));
  for (const { path } of evaluation)
    if (known.has(await realpath(path)))
      throw new OptionError(`${path} is named for training and for evaluation: expected different files`, {
        option: 'evaluation',
        file: path,
      });
}

async function formatByContent(path: string, maxLineBytes: number): Promise<DataFile['format']> {
  for await (const { text, problem } of readLines(path, maxLineBytes)) {
    if (problem !== undefined) return 'text';
    if (text.trim() !== '') return text.trimStart().startsWith('{') && isJson(text) ? 'jsonl' : 'text';
  }
  return 'text';
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The examples of a JSONL file; blank lines are passed over. */
export async function* readJsonLines(
  file: DataFile,
  { form, maxLineBytes }: DataSettings,
  vocabularySize: number,
  options: ReadOptions,
): AsyncGenerator<PlacedExample> {
  for await (const { number: line, text, problem } of readLines(file.path, maxLineBytes, options)) {
    if (problem === undefined && text.trim() === '') continue;
    yield { file: file.path, line, example: problem === undefined ? parsed(text, form, vocabularySize) : new BadExample(problem) };
  }
}

function parsed(text: string, form: DataSettings['form'], vocabularySize: number): Example | BadExample {
  try {
    return parseExample(text, form, vocabularySize);
  } catch (error) {
    if (error instanceof BadExample) return error;
    throw error;
  }
}

/** The documents of a plain text file that has blank lines between them. A line that cannot be read takes its document with it. */
export async function* readDocuments(file: DataFile, { maxLineBytes }: DataSettings, options: ReadOptions): AsyncGenerator<PlacedExample> {
  let lines: string[] = [];
  let characters = 0;
  let begin = 0;
  let bad: { line: number; problem: string } | undefined;
  const take = (): PlacedExample | undefined => {
    const example = bad === undefined ? { form: 'text' as const, text: lines.join('\n') } : new BadExample(bad.problem);
    const line = bad?.line ?? begin;
    const any = lines.length > 0;
    lines = [];
    characters = 0;
    bad = undefined;
    return any ? { file: file.path, line, example } : undefined;
  };
  for await (const { number, text, problem } of readLines(file.path, maxLineBytes, options)) {
    if (problem === undefined && text.trim() === '') {
      const document = take();
      if (document !== undefined) yield document;
      continue;
    }
    if (lines.length === 0) begin = number;
    if (problem !== undefined) bad ??= { line: number, problem };
    characters += text.length + 1;
    if (characters > maxDocument)
      bad ??= { line: begin, problem: `the document has more than ${maxDocument} characters without a blank line` };
    if (bad === undefined || lines.length === 0) lines.push(text);
  }
  const document = take();
  if (document !== undefined) yield document;
}
