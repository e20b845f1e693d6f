import { describe, expect, it } from 'vitest';
import { displayWidth, fitWidth, printable } from '../../lib/cli/display_width.js';
import { formatTable } from '../../lib/cli/table.js';

describe('formatTable', () => {
  it('aligns text to the left and numbers to the right', () => {
    const rows = [
      ['poet', 8, 1234567],
      ['a cynic', 16, 12],
    ];
    expect(formatTable(rows, { header: ['name', 'rank', 'bytes'] })).toBe(
      ['name     rank      bytes', '───────  ────  ─────────', 'poet        8  1,234,567', 'a cynic    16         12'].join('\n'),
    );
  });

  it('counts columns, not code units', () => {
    const rows = [
      ['日本', 'x'],
      ['e\u0301', 'y'],
      ['👩‍👩‍👧', 'z'],
    ];
    expect(
      formatTable(rows, { gap: 1 })
        .split('\n')
        .map((line) => displayWidth(line)),
    ).toEqual([6, 6, 6]);
  });

  it('shortens the widest column to fit, and takes missing cells for empty ones', () => {
    const rows = [['a'.repeat(50), 'b'], ['c']];
    expect(formatTable(rows, { maxWidth: 20 })).toBe(`${'a'.repeat(16)}…  b\nc`);
    expect(formatTable([])).toBe('');
  });

  it('shows no control characters', () => {
    expect(formatTable([['\x1b[31mred\x07\nline']])).toBe('[31mred line');
    expect(printable('a\u202eb\r\nc\td')).toBe('ab\nc    d');
  });

  it('fits text without splitting characters', () => {
    expect(fitWidth('日本語', 5)).toBe('日本…');
    expect(fitWidth('日本語', 4)).toBe('日…');
    expect(fitWidth('abc', 3)).toBe('abc');
    expect(fitWidth('abc', 0)).toBe('');
  });
});
