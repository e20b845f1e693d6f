// Text files read piece by piece: no file is held whole.
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { toAccessError } from '../checkpoint/json.js';
import { FileFormatError } from '../errors.js';
import { throwIfAborted } from '../runtime/abort_signal.js';

/** A line, without its end; or why it cannot be read. */
export interface TextLine {
  /** From 1. */
  readonly number: number;
  readonly text: string;
  readonly problem?: string;
}

/** How a file is read. */
export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Told how many bytes of the file are read. */
  readonly onBytes?: (bytes: number) => void;
  /** Read in place of the file, which then only names it in messages. */
  readonly input?: Readable;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/**
 * The lines of a UTF-8 file; LF and CRLF end a line, a byte order mark at the beginning is dropped. A line that is longer than `maxLineBytes`
 * or not UTF-8 comes with its problem and an empty text. Throws FileAccessError, or AbortError.
 */
export async function* readLines(file: string, maxLineBytes: number, options: ReadOptions = {}): AsyncGenerator<TextLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let number = 0;
  let held: Buffer[] = [];
  let heldBytes = 0;
  const finish = (): TextLine => {
    number++;
    const bytes = held.length === 1 ? (held[0] as Buffer) : Buffer.concat(held);
    const length = heldBytes;
    held = [];
    heldBytes = 0;
    const end = bytes.at(-1) === carriageReturn ? length - 1 : length;
    if (end > maxLineBytes) return { number, text: '', problem: `the line has ${end} bytes: expected at most ${maxLineBytes}` };
    try {
      const text = decoder.decode(bytes.subarray(0, end));
      return { number, text: number === 1 && text.startsWith('\ufeff') ? text.slice(1) : text };
    } catch {
      return { number, text: '', problem: 'the line is not UTF-8 text' };
    }
  };
  // Of a line that is too long only the last byte is kept: it may be the first half of CRLF.
  const hold = (bytes: Buffer): void => {
    if (bytes.length === 0) return;
    heldBytes += bytes.length;
    if (heldBytes <= maxLineBytes + 1) held.push(bytes);
    else held = [bytes.subarray(-1)];
  };
  for await (const chunk of readChunks(file, options)) {
    let from = 0;
    for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, from)) {
      hold(chunk.subarray(from, at));
      from = at + 1;
      yield finish();
    }
    hold(chunk.subarray(from));
  }
  if (heldBytes > 0) yield finish();
}

/**
 * The text of a UTF-8 file in pieces that end with whole characters. CRLF becomes LF; a byte order mark at the beginning is dropped.
 * Throws FileFormatError naming the line where a file is not UTF-8, FileAccessError, or AbortError.
 */
export async function* readPieces(file: string, options: ReadOptions = {}): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let lines = 0;
  let carried = '';
  const decode = (chunk?: Buffer): string => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch (cause) {
      const line = lines + (chunk === undefined ? 1 : lineOfFault(chunk));
      throw new FileFormatError(`${file}:${line}: the line is not UTF-8 text`, { file, rule: 'utf-8', line }, { cause });
    }
  };
  for await (const chunk of readChunks(file, options)) {
    const raw = carried + decode(chunk);
    for (const byte of chunk) if (byte === lineFeed) lines++;
    // The LF may be in the next chunk.
    carried = raw.endsWith('\r') ? '\r' : '';
    const text = raw.slice(0, raw.length - carried.length).replaceAll('\r\n', '\n');
    if (text !== '') yield text;
  }
  const rest = carried + decode();
  if (rest !== '') yield rest;
}

/** Which line of a chunk is not UTF-8, from 1. */
function lineOfFault(chunk: Buffer): number {
  let line = 1;
  let from = 0;
  // The rest of a character that began in the chunk before.
  while (from < 3 && ((chunk[from] as number) & 0xc0) === 0x80) from++;
  for (let at = chunk.indexOf(lineFeed, from); at >= 0; at = chunk.indexOf(lineFeed, from), line++) {
    if (!isUtf8(chunk.subarray(from, at))) return line;
    from = at + 1;
  }
  return line;
}

async function* readChunks(file: string, { signal, onBytes, input }: ReadOptions): AsyncGenerator<Buffer> {
  const stream = input ?? createReadStream(file, { highWaterMark: 256 * 1024 });
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      throwIfAborted(signal);
      bytes += chunk.length;
      onBytes?.(bytes);
      yield chunk;
    }
  } catch (error) {
    throw toAccessError(error, 'read', file);
  } finally {
    stream.destroy();
  }
}
