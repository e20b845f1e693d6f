import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseJson, readJsonFile } from '../../lib/checkpoint/json.js';
import { findSyntaxFault } from '../../lib/checkpoint/json_syntax.js';
import { FileAccessError, FileFormatError } from '../../lib/errors.js';
import { failure } from './failure.js';

const folder = mkdtempSync(join(tmpdir(), 'heddle-json-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('both spellings of numbers that JSON does not have', () => {
  it('are read', () => {
    const bare = '{"a": Infinity, "b": -Infinity, "c": NaN, "d": [Infinity], "e": 1}';
    expect(parseJson(bare, 'f')).toEqual({ a: Infinity, b: -Infinity, c: NaN, d: [Infinity], e: 1 });
    const tagged = '[0.0, {"__float__": "Infinity"}, {"__float__":"-Infinity"}, {"__float__": "NaN"}]';
    expect(parseJson(tagged, 'f')).toEqual([0, Infinity, -Infinity, NaN]);
    expect(parseJson('{"limit": [NaN, {"__float__": "Infinity"}, Infinity]}', 'f')).toEqual({ limit: [NaN, Infinity, Infinity] });
    expect(parseJson('-Infinity', 'f')).toBe(-Infinity);
  });

  it('are left alone in strings and in other objects', () => {
    const text = '{"Infinity": "a NaN \\" Infinity", "x": {"__float__": "1.5"}, "y": {"__float__": "Infinity", "z": 1}}';
    expect(parseJson(text, 'f')).toEqual(JSON.parse(text));
  });

  it('are refused when misspelt', () => {
    const misspelt = ['Infinit', 'Infinityx', '+Infinity', '- Infinity', 'NaNs', 'nan', '-NaN', 'None', '[Infinity Infinity]'];
    const goingOn = ['1Infinity', '{"a": 1Infinity}', '1.Infinity', '-1Infinity', '1-Infinity', '1NaN', '1eInfinity', 'InfinityInfinity'];
    for (const text of [...misspelt, ...goingOn]) expect(() => parseJson(text, 'f'), text).toThrow(FileFormatError);
  });
});

describe('limits', () => {
  it('depth', () => {
    const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    expect(parseJson(nested(64), 'f')).toBeDefined();
    expect(() => parseJson(nested(65), 'f')).toThrow('f: line 1, column 65: nested deeper than 64');
    expect(() => parseJson('['.repeat(1_000_000), 'f')).toThrow('nested deeper');
    expect(parseJson(JSON.stringify({ text: '[[['.repeat(100) }), 'f')).toBeDefined();
    expect(() => parseJson('[[1]]', 'f', 1)).toThrow('deeper than 1');
  });

  it('size', async () => {
    const path = file('large.json', JSON.stringify('x'.repeat(1000)));
    expect(await readJsonFile(path, { maxBytes: 1002 })).toHaveLength(1000);
    const error = await failure(readJsonFile(path, { maxBytes: 1001 }));
    expect(error).toBeInstanceOf(FileFormatError);
    expect(error.message).toBe(`${path}: the file has 1002 bytes, expected at most 1001`);
    expect(error.details).toMatchObject({ file: path, rule: 'file-size' });
  });

  it('size of files that do not tell it', async () => {
    expect((await failure(readJsonFile('/proc/cpuinfo', { maxBytes: 10 }))).code).toBe('ERR_HEDDLE_FILE');
  });
});

describe('errors', () => {
  it('say where and what', () => {
    const cases: [string, string][] = [
      ['{\n  "a": 1,\n  "b": }', `line 3, column 8: not valid JSON: expected a value, found "}"`],
      ['{"a": Infinity, "b" 1}', `line 1, column 21: not valid JSON: expected ':', found "1"`],
      ['{"a": NaN, "b" 1}', `line 1, column 16: not valid JSON: expected ':', found "1"`],
      ['{"a":', 'line 1, column 6: not valid JSON: expected a value, found the end'],
      ['', 'line 1, column 1: not valid JSON: expected a value, found the end'],
      ['[1 2]', `line 1, column 4: not valid JSON: expected ',' or ']', found "2"`],
      ['[1,]', 'line 1, column 4: not valid JSON: expected a value, found "]"'],
      ['{} x', 'line 1, column 4: not valid JSON: expected nothing more, found "x"'],
      ['["a\nb"]', 'line 1, column 4: not valid JSON: a control character inside a string: "\\n"'],
      ['["\\x"]', 'line 1, column 3: not valid JSON: an unknown escape in a string'],
      ['["a', 'line 1, column 4: not valid JSON: a string without an end'],
    ];
    for (const [text, message] of cases) expect(() => parseJson(text, 'f'), text).toThrow(`f: ${message}`);
  });

  it('agree with JSON.parse on what is valid', () => {
    const pieces = ['{', '}', '[', ']', ',', ':', '"a"', '"\\u00e9"', '1', '-0.5e3', '01', 'true', 'nul', ' ', '"', '\\', '-', '.'];
    let state = 7;
    const next = (limit: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * limit);
    };
    let valid = 0;
    const disagreements: string[] = [];
    for (let i = 0; i < 20_000; i++) {
      const text = Array.from({ length: 1 + next(6) }, () => pieces[next(pieces.length)]).join('');
      let parses = true;
      try {
        JSON.parse(text);
      } catch {
        parses = false;
      }
      valid += Number(parses);
      if ((findSyntaxFault(text) === undefined) !== parses) disagreements.push(text);
    }
    expect(disagreements).toEqual([]);
    expect(valid).toBeGreaterThan(100);
  });

  it('name the file and the reason', async () => {
    const missing = await failure(readJsonFile(join(folder, 'none.json')));
    expect(missing).toBeInstanceOf(FileAccessError);
    expect(missing.message).toBe(`cannot read ${join(folder, 'none.json')}: no such file`);
    expect((await failure(readJsonFile(folder))).code).toBe('ERR_HEDDLE_IO');
    expect((await failure(readJsonFile('/dev/zero'))).message).toContain('expected a regular file');
    expect((await failure(readJsonFile(file('latin.json', Uint8Array.of(0x22, 0xe9, 0x22))))).message).toContain('expected UTF-8');
    expect((await failure(readJsonFile(file('bom.json', '\ufeff{}')))).code).toBe('ERR_HEDDLE_FILE');
  });

  it('come at once for a pipe that nobody writes to', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect((await failure(readJsonFile(pipe))).message).toContain('expected a regular file');
  });
});
