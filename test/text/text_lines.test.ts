import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AbortError, FileAccessError, FileFormatError } from '../../lib/errors.js';
import { readLines, readPieces, type TextLine } from '../../lib/text/text_lines.js';
import { dataFolder } from '../train/data_folder.js';
import { random } from './random.js';

const folder = dataFolder();
const bytes = (...parts: (string | number)[]): Buffer =>
  Buffer.concat(parts.map((p) => (typeof p === 'string' ? Buffer.from(p) : Buffer.of(p))));

async function linesOf(content: string | Uint8Array, most = 100): Promise<TextLine[]> {
  const lines: TextLine[] = [];
  for await (const line of readLines(folder.write('lines', content), most)) lines.push(line);
  return lines;
}

async function textOf(content: string | Uint8Array): Promise<string> {
  let text = '';
  for await (const piece of readPieces(folder.write('text', content))) {
    expect(piece).not.toBe('');
    text += piece;
  }
  return text;
}

describe('readLines', () => {
  it('knows every end of a line', async () => {
    expect(await linesOf('a\n\nb\r\nc')).toEqual(['a', '', 'b', 'c'].map((text, i) => ({ number: i + 1, text })));
    expect(await linesOf('a\n')).toEqual([{ number: 1, text: 'a' }]);
    expect(await linesOf('\n\n')).toEqual([
      { number: 1, text: '' },
      { number: 2, text: '' },
    ]);
    expect(await linesOf('')).toEqual([]);
    expect(await linesOf('a\rb\r')).toEqual([{ number: 1, text: 'a\rb' }]);
    // Ends of lines of JavaScript, but not of a file.
    expect(await linesOf('a\u2028b\u0085c\n')).toEqual([{ number: 1, text: 'a\u2028b\u0085c' }]);
  });

  it('drops a byte order mark at the beginning only', async () => {
    expect((await linesOf('\ufeffa\n\ufeffb\n')).map(({ text }) => text)).toEqual(['a', '\ufeffb']);
  });

  it('tells lines that are too long or not UTF-8, and goes on', async () => {
    const lines = await linesOf(bytes('ok\n', 'x'.repeat(100), '\r\n', 'x'.repeat(101), '\r\n', 0xff, 'a\n', 0xc3, '\n', 'end'));
    expect(lines.map(({ number, text, problem }) => [number, problem ?? text.length])).toEqual([
      [1, 2],
      [2, 100],
      [3, 'the line has 101 bytes: expected at most 100'],
      [4, 'the line is not UTF-8 text'],
      [5, 'the line is not UTF-8 text'],
      [6, 3],
    ]);
  });

  it('reads random text over many chunks, and counts bytes', async () => {
    const next = random(4);
    const lines = Array.from({ length: 3000 }, () => '🙂é你a'.repeat(next() % 90));
    const ends = lines.map(() => (next() % 2 === 0 ? '\n' : '\r\n'));
    const content = lines.map((line, i) => line + ends[i]).join('');
    expect(Buffer.byteLength(content)).toBeGreaterThan(3 * 256 * 1024);
    const counts: number[] = [];
    const read: string[] = [];
    const file = folder.write('random', content);
    for await (const { text, number } of readLines(file, 10_000, { onBytes: (count) => counts.push(count) })) {
      read.push(text);
      expect(number).toBe(read.length);
    }
    expect(read).toEqual(lines);
    expect(counts.at(-1)).toBe(Buffer.byteLength(content));
    expect(counts.length).toBeGreaterThan(3);
  });

  it('says why a line of many chunks is too long without holding it', async () => {
    const content = bytes(`${'x'.repeat(1_000_000)}\r\n`, 'short\n');
    expect(await linesOf(content, 10)).toEqual([
      { number: 1, text: '', problem: 'the line has 1000000 bytes: expected at most 10' },
      { number: 2, text: 'short' },
    ]);
  });

  it('says which file cannot be read, and stops when told', async () => {
    const read = async (file: string, signal?: AbortSignal): Promise<void> => {
      for await (const _ of readLines(file, 10, { signal }));
    };
    await expect(read(join(folder.path, 'missing'))).rejects.toThrow(FileAccessError);
    await expect(read(join(folder.path, 'missing'))).rejects.toThrow(/missing: no such file/);
    await expect(read(folder.write('some', 'a\nb'), AbortSignal.abort())).rejects.toThrow(AbortError);
  });
});

describe('readPieces', () => {
  it('gives the text with LF for CRLF, without a mark', async () => {
    expect(await textOf('\ufeffa\r\nb\rc\n\r\n\ufeffd\r')).toBe('a\nb\rc\n\n\ufeffd\r');
    expect(await textOf('')).toBe('');
  });

  it('cuts neither characters nor CRLF at the ends of chunks', async () => {
    const next = random(8);
    let text = '';
    while (text.length < 400_000) text += ['\r\n', '🙂', 'é', 'a', '\n', '\r'][next() % 6];
    for (const shift of [0, 1, 2, 3])
      expect((await textOf('x'.repeat(shift) + text)) === ('x'.repeat(shift) + text).replaceAll('\r\n', '\n')).toBe(true);
  });

  it('says which line a file is not UTF-8', async () => {
    const file = folder.write('broken', bytes('x\n'.repeat(200_000), 0xe9, 'a'));
    const read = async (): Promise<void> => {
      for await (const _ of readPieces(file));
    };
    await expect(read()).rejects.toThrow(FileFormatError);
    await expect(read()).rejects.toThrow(/broken:200001: the line is not UTF-8 text/);
    await expect(textOf(bytes('a\n', 0xe2, 0x82))).rejects.toThrow(/text:2: the line is not UTF-8 text/);
    await expect(textOf(bytes('é\nb', 0xff, 'c\nd'))).rejects.toThrow(/text:2:/);
  });
});
