import { describe, expect, it } from 'vitest';
import { displayWidth } from '../../lib/cli/display_width.js';
import { formatAmount, formatDuration, ProgressBar } from '../../lib/cli/progress.js';
import { Screen } from './screen.js';

describe('ProgressBar', () => {
  it('writes nothing where there is no terminal', () => {
    const screen = new Screen();
    screen.isTTY = false;
    const bar = new ProgressBar({ label: 'load', total: 10, stream: screen });
    bar.update(5);
    bar.finish('done');
    expect(screen.written).toBe('');
    expect(screen.listeners).toBe(0);
  });

  it('shows part, amount, rate and time left in one line', () => {
    const screen = new Screen(120);
    let time = 0;
    const bar = new ProgressBar({ label: 'load model', total: 4e6, unit: 'bytes', stream: screen, now: () => time });
    time = 1000;
    bar.update(1e6);
    expect(screen.text).toBe(`load model  ${'█'.repeat(6)}${'░'.repeat(18)}  25 %  1.0 MB of 4.0 MB  1.0 MB/s  3 s left`);
    time = 4000;
    bar.update(4e6);
    expect(screen.text).toMatch(/100 % {2}4.0 MB of 4.0 MB {2}1.0 MB\/s$/);
    bar.finish();
    expect(screen.text).toBe('');
  });

  it('draws at most every 50 ms, but always the end', () => {
    const screen = new Screen();
    let time = 0;
    const bar = new ProgressBar({ label: 'x', total: 1000, stream: screen, now: () => time });
    for (let i = 0; i < 1000; i++) {
      time += 1;
      bar.advance();
    }
    expect(screen.written.split('\r').length).toBeLessThan(25);
    expect(screen.text).toContain('100 %');
  });

  it('never wraps, and follows the window', () => {
    const screen = new Screen(40);
    const bar = new ProgressBar({ label: '読み込み a long label that does not fit at all', total: 7, stream: screen });
    expect(displayWidth(screen.text)).toBeLessThan(40);
    screen.resize(100);
    expect(displayWidth(screen.text)).toBeGreaterThan(40);
    bar.finish('read\x1b[2J');
    expect(screen.text).toBe('read[2J');
    expect(screen.listeners).toBe(0);
    bar.update(7);
    expect(screen.text).toBe('read[2J');
  });

  it('makes room for what others write, and comes back below', () => {
    const screen = new Screen(100);
    const bar = new ProgressBar({ label: 'score', total: 2, stream: screen, now: () => 0 });
    bar.around(() => screen.write('first\n'));
    bar.around(() => screen.write('second\n'));
    expect(screen.lines.slice(0, 2)).toEqual(['first', 'second']);
    expect(screen.lines[2]).toMatch(/^score /);
    bar.finish();
    bar.around(() => screen.write('third\n'));
    expect(screen.text).toBe('first\nsecond\nthird');
  });

  it('counts without a total', () => {
    const screen = new Screen();
    using bar = new ProgressBar({ label: 'score', unit: 'tokens', stream: screen, now: () => 0 });
    bar.update(1234, undefined);
    expect(screen.text).toContain('score  0 tokens');
    screen.resize(70);
    expect(screen.text).toBe('score  1,234 tokens');
  });

  it('formats amounts and durations', () => {
    expect([0, 999, 1000, 12_345, 999_999, 2.5e9].map((value) => formatAmount(value, 'bytes'))).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '12 kB',
      '1.0 MB',
      '2.5 GB',
    ]);
    expect([7, 1.25, 1234.6].map((value) => formatAmount(value))).toEqual(['7', '1.3', '1,235']);
    expect([0, 3.2, 65, 3720].map(formatDuration)).toEqual(['0 s', '4 s', '1 min 05 s', '1 h 02 min']);
  });
});
