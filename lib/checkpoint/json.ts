import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { FileAccessError, FileFormatError, HeddleError } from '../errors.js';
import { findSyntaxFault } from './json_syntax.js';

/** How much of a JSON file is read before it is refused. */
export interface JsonLimits {
  /** Largest file, in bytes. Default 16 MiB. */
  maxBytes?: number;
  /** Deepest nesting of objects and arrays. Default 64. */
  maxDepth?: number;
}

const defaultMaxBytes = 16 * 1024 * 1024;
const defaultMaxDepth = 64;

/**
 * Reads a JSON file from strangers: size and depth are checked before anything is built from it. `Infinity`, `-Infinity` and `NaN` are read
 * as Python writes them (bare) and as transformers does (`{"__float__": "Infinity"}`).
 */
export async function readJsonFile(path: string, limits: JsonLimits = {}): Promise<unknown> {
  return parseJson(await readTextFile(path, limits.maxBytes), path, limits.maxDepth);
}

/** Reads a UTF-8 text file of at most `maxBytes`. */
export async function readTextFile(path: string, maxBytes = defaultMaxBytes): Promise<string> {
  const bytes = await readBounded(path, maxBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FileFormatError(`${path}: expected UTF-8 text`, { file: path, rule: 'utf-8' }, { cause });
  }
}

async function readBounded(path: string, maxBytes: number): Promise<Uint8Array> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // a pipe without a writer must not block
    const facts = await file.stat();
    if (!facts.isFile()) throw new FileAccessError(`cannot read ${path}: expected a regular file`, { file: path });
    const tooLarge = (bytes: number): FileFormatError =>
      new FileFormatError(`${path}: the file has ${bytes} bytes, expected at most ${maxBytes}`, { file: path, rule: 'file-size' });
    if (facts.size > maxBytes) throw tooLarge(facts.size);
    // The size may be a lie (files in /proc) or change while reading.
    const bytes = new Uint8Array(Math.min(Math.max(facts.size, 4096), maxBytes) + 1);
    let filled = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, filled, bytes.length - filled);
      if (bytesRead === 0) return bytes.subarray(0, filled);
      filled += bytesRead;
      if (filled === bytes.length) throw tooLarge(filled);
    }
  } catch (error) {
    throw toAccessError(error, 'read', path);
  } finally {
    await file?.close();
  }
}

/** What the operating system said, as a FileAccessError that names the file. */
export function toAccessError(error: unknown, action: string, path: string): Error {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof HeddleError || code === undefined || errno === undefined) return error as Error;
  const reasons: Record<string, string> = {
    ENOENT: 'no such file',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EISDIR: 'it is a directory',
    ENOTDIR: 'a part of its path is not a folder',
    EEXIST: 'a file of that name is there',
    EROFS: 'the disk is read-only',
    ENOSPC: 'no space left on the disk',
    ELOOP: 'too many symbolic links',
  };
  return new FileAccessError(`cannot ${action} ${path}: ${reasons[code] ?? code}`, { file: path, reason: code }, { cause: error });
}

/** Parses JSON text under the rules of readJsonFile; `file` is its name in messages. */
export function parseJson(text: string, file: string, maxDepth = defaultMaxDepth): unknown {
  const bare = scan(text, file, maxDepth);
  // Same lengths as the words they stand for, so that positions in errors stay true; 1e999999 is read as Infinity.
  const plain = replaced(text, bare, (word) => (word === 'NaN' ? '0.0' : word.replace('Infinity', '1e999999')));
  let value: unknown;
  try {
    value = JSON.parse(plain);
  } catch (error) {
    const { at, message } = findSyntaxFault(plain) ?? { at: 0, message: (error as Error).message };
    throw formatError(file, text, at, `not valid JSON: ${message}`, 'json', error);
  }
  const spelled = text.includes('"__float__"');
  if (!spelled && !bare.some(({ word }) => word === 'NaN')) return value;
  const tagged = replaced(text, bare, (word) => `{"__float__":"${word}"}`);
  return JSON.parse(tagged, (_, item: unknown) => float(item) ?? item);
}

const floats: Record<string, number> = { Infinity: Number.POSITIVE_INFINITY, '-Infinity': Number.NEGATIVE_INFINITY, NaN: Number.NaN };

function float(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const keys = Object.keys(value);
  if (keys.length !== 1 || keys[0] !== '__float__') return undefined;
  const name = (value as { __float__: unknown }).__float__;
  return typeof name === 'string' && Object.hasOwn(floats, name) ? floats[name] : undefined;
}

interface Word {
  at: number;
  word: string;
}

const quote = 0x22;
const backslash = 0x5c;

/** One pass over the text outside strings: checks depth and finds the words for numbers that JSON does not have. */
function scan(text: string, file: string, maxDepth: number): Word[] {
  const words: Word[] = [];
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case quote:
        for (i++; i < text.length && text.charCodeAt(i) !== quote; i++) if (text.charCodeAt(i) === backslash) i++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) throw formatError(file, text, i, `nested deeper than ${maxDepth}`, 'depth');
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
      case 0x49: // I
      case 0x4e: {
        // N
        const word = text.startsWith('Infinity', i) ? 'Infinity' : text.startsWith('NaN', i) ? 'NaN' : '';
        if (word === '' || /[\w.]/.test(text[i + word.length] ?? '')) break;
        // A word that goes on from something, such as 1Infinity, is none.
        if (/[\w.]/.test(text[i - 1] ?? '')) break;
        const minus = text[i - 1] === '-';
        if (minus && word === 'NaN') break;
        words.push(minus ? { at: i - 1, word: '-Infinity' } : { at: i, word });
        i += word.length - 1;
        break;
      }
    }
  }
  return words;
}

function replaced(text: string, words: readonly Word[], by: (word: string) => string): string {
  if (words.length === 0) return text;
  let result = '';
  let at = 0;
  for (const word of words) {
    result += text.slice(at, word.at) + by(word.word);
    at = word.at + word.word.length;
  }
  return result + text.slice(at);
}

function formatError(file: string, text: string, at: number, message: string, rule: string, cause?: unknown): FileFormatError {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  const column = at - before.lastIndexOf('\n');
  return new FileFormatError(`${file}: line ${line}, column ${column}: ${message}`, { file, rule, line, column }, { cause });
}
