import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { displayWidth } from '../../lib/cli/display_width.js';
import { appendWrapped, Panes } from '../../lib/cli/panes.js';
import { random } from '../text/random.js';
import { Screen } from './screen.js';

describe('Panes', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('shows texts side by side, wrapped inside their columns', () => {
    const screen = new Screen(44);
    const panes = new Panes(['base', 'poet'], { stream: screen });
    panes.write(0, 'It was a dark and');
    panes.write(1, 'O Captain!\n\nMy');
    panes.write(0, ' stormy night');
    panes.write(1, ' Captain');
    expect(screen.text).not.toContain('stormy');
    vi.advanceTimersByTime(50);
    const drawn = [
      'base                 │ poet',
      `${'─'.repeat(20)}─┼─${'─'.repeat(20)}`,
      'It was a dark and    │ O Captain!',
      'stormy night         │',
      '                     │ My Captain',
    ];
    expect(screen.text).toBe(drawn.join('\n'));
    panes.close();
    panes.close();
    panes.write(0, 'late');
    vi.advanceTimersByTime(50);
    expect(screen.text).toBe(drawn.join('\n'));
    expect(screen.listeners).toBe(0);
  });

  it('redraws only its own rows', () => {
    const screen = new Screen(44);
    screen.write('before\n');
    const panes = new Panes(['a', 'b'], { stream: screen });
    for (let i = 0; i < 50; i++) {
      panes.write(i % 2, `word${i} `);
      vi.advanceTimersByTime(50);
    }
    panes.close();
    screen.write('after\n');
    expect(screen.lines[0]).toBe('before');
    expect(screen.text.endsWith('after')).toBe(true);
    expect(screen.text.match(/word0/g)?.length).toBe(1);
  });

  it('shows the end of long texts while they grow, and all of them at last', () => {
    const screen = new Screen(60, 10);
    const panes = new Panes(['a', 'b'], { stream: screen });
    for (let i = 0; i < 40; i++) panes.write(0, `line ${i}\n`);
    vi.advanceTimersByTime(50);
    expect(screen.lines.length).toBeLessThanOrEqual(10);
    expect(screen.text).toContain('line 39');
    expect(screen.text).not.toContain('line 3 ');
    panes.close();
    for (let i = 0; i < 40; i++) expect(screen.text).toContain(`line ${i} `);
  });

  it('wraps anew when the window changes, and writes blocks when it becomes too narrow', () => {
    const screen = new Screen(80);
    const panes = new Panes(['a', 'b'], { stream: screen });
    panes.write(0, 'one two three four five six seven eight nine ten');
    vi.advanceTimersByTime(50);
    screen.resize(44);
    expect(screen.text).toContain('one two three four   │');
    screen.resize(20);
    expect(screen.text).toBe('');
    panes.write(1, 'second');
    panes.finish(1);
    expect(screen.text).toBe('');
    panes.finish(0);
    expect(screen.text).toBe('[a]\none two three four five six seven eight nine ten\n\n[b]\nsecond');
  });

  it('makes bands of equal size where the columns do not fit beside each other, and one when they do', () => {
    const screen = new Screen(66, 24);
    const panes = new Panes(['a', 'b', 'c', 'd'], { stream: screen });
    for (let i = 0; i < 4; i++) panes.write(i, `text ${i}`);
    vi.advanceTimersByTime(50);
    const line = (first: string, second: string): string => `${first.padEnd(31)} │ ${second}`;
    const rule = `${'─'.repeat(31)}─┼─${'─'.repeat(31)}`;
    expect(screen.text).toBe(
      [line('a', 'b'), rule, line('text 0', 'text 1'), '', line('c', 'd'), rule, line('text 2', 'text 3')].join('\n'),
    );
    screen.resize(100);
    expect(screen.text.split('\n')[0]).toMatch(/^a +│ b +│ c +│ d$/);
    screen.resize(66);
    for (let i = 0; i < 40; i++) panes.write(1, `line ${i}\n`);
    vi.advanceTimersByTime(50);
    expect(screen.lines.length).toBeLessThanOrEqual(24);
    panes.close();
    for (const text of ['text 0', 'text 3', 'line 0', 'line 39']) expect(screen.text).toContain(text);
  });

  it('writes labelled blocks in order where there is no terminal', () => {
    const screen = new Screen();
    screen.isTTY = false;
    const panes = new Panes(['base', 'poet', 'cynic'], { stream: screen });
    panes.write(2, 'bitter');
    panes.finish(2);
    panes.write(0, 'plain ');
    expect(screen.written).toBe('');
    panes.write(0, 'text\n');
    panes.finish(0);
    expect(screen.written).toBe('[base]\nplain text\n');
    panes.write(1, 'verse');
    panes.close();
    expect(screen.written).toBe('[base]\nplain text\n\n[poet]\nverse\n\n[cynic]\nbitter\n');
  });

  it('shows no control characters of the text', () => {
    const screen = new Screen(60);
    const panes = new Panes(['a\x1b]0;title\x07', 'b'], { stream: screen });
    panes.write(0, 'x\x1b[2J\x1b[5Ay\x9b1A');
    panes.close();
    expect(screen.text).toContain('x[2J[5Ay1A');
  });
});

describe('appendWrapped', () => {
  const wrap = (pieces: string[], width: number): string[] => {
    const lines = [''];
    for (const piece of pieces) appendWrapped(lines, piece, width);
    return lines;
  };

  it('breaks at spaces, and long words where they must', () => {
    expect(wrap(['the quick brown fox'], 9)).toEqual(['the quick', 'brown fox']);
    expect(wrap(['incomprehensibilities'], 8)).toEqual(['incompre', 'hensibil', 'ities']);
    expect(wrap(['日本語のテキスト'], 5)).toEqual(['日本', '語の', 'テキ', 'スト']);
    expect(wrap(['a\n\nb'], 5)).toEqual(['a', '', 'b']);
    expect(wrap(['日'], 1)).toEqual(['日']);
  });

  it('does not depend on how the text is cut, loses no word and never exceeds the width', () => {
    const next = random(13);
    for (let round = 0; round < 500; round++) {
      const words = Array.from({ length: next() % 30 }, () => 'abcdefghijklmnop'.slice(0, 1 + (next() % 12)));
      const text = words.join(' ');
      const width = 5 + (next() % 20);
      const pieces: string[] = [];
      for (let at = 0; at < text.length; ) {
        const length = 1 + (next() % 7);
        pieces.push(text.slice(at, at + length));
        at += length;
      }
      const lines = wrap(pieces, width);
      expect(lines.every((line) => displayWidth(line.trimEnd()) <= width)).toBe(true);
      expect(lines.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
      expect(lines.map((line) => line.trimEnd())).toEqual(wrap([text], width).map((line) => line.trimEnd()));
    }
  });
});
