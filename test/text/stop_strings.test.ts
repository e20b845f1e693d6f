import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { StopStrings } from '../../lib/text/stop_strings.js';
import { random } from './random.js';

/** The definition: read characters one by one; stop at the first that ends a stop string, the longest of those that end there. */
function expected(text: string, stops: string[], include = false): { text: string; stopped: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) return { text: text.slice(0, include ? end : end - found.length), stopped: found };
  }
  return { text, stopped: undefined };
}

function stream(pieces: string[], stops: string[], include = false): { text: string; stopped: string | undefined } {
  const matcher = new StopStrings(stops, { include });
  let text = '';
  for (const piece of pieces) {
    const result = matcher.push(piece);
    text += result.text;
    if (result.stopped !== undefined) return { text, stopped: result.stopped };
  }
  return { text: text + matcher.flush(), stopped: undefined };
}

describe('StopStrings', () => {
  it('delivers the text before a stop string that is split over pieces', () => {
    expect(stream(['Hello', '\n', '\n', 'User', ': hi'], ['\n\nUser:'])).toEqual({ text: 'Hello', stopped: '\n\nUser:' });
  });

  it('holds back only what may become a stop string, and lets it go when it does not', () => {
    const matcher = new StopStrings(['END']);
    expect(matcher.push('abE')).toEqual({ text: 'ab', stopped: undefined });
    expect(matcher.push('N')).toEqual({ text: '', stopped: undefined });
    expect(matcher.push('x')).toEqual({ text: 'ENx', stopped: undefined });
    expect(matcher.push('E')).toEqual({ text: '', stopped: undefined });
    expect(matcher.flush()).toBe('E');
  });

  it('includes the stop string where asked, and is silent after it', () => {
    const matcher = new StopStrings(['.'], { include: true });
    expect(matcher.push('One. Two.')).toEqual({ text: 'One.', stopped: '.' });
    expect(matcher.push('Three')).toEqual({ text: '', stopped: '.' });
    expect(matcher.flush()).toBe('');
  });

  it('finds overlapping stop strings: the first to end wins, then the longest', () => {
    expect(stream(['abcdef'], ['abcdef', 'cd'])).toEqual({ text: 'ab', stopped: 'cd' });
    expect(stream(['xaab'], ['ab', 'aab'])).toEqual({ text: 'x', stopped: 'aab' });
    expect(stream(['aaa', 'b'], ['aab'])).toEqual({ text: 'a', stopped: 'aab' });
  });

  it('never parts a surrogate pair', () => {
    const matcher = new StopStrings(['\ude00!']);
    const first = matcher.push('a😀');
    expect(first.text).toBe('a');
    expect(first.text + matcher.push('b').text).toBe('a😀b');
  });

  it('agrees with the definition on random texts', () => {
    const next = random(7);
    for (let round = 0; round < 3000; round++) {
      const letters = 'ab'.slice(0, 1 + (next() % 2)) + (next() % 3 === 0 ? '😀' : '');
      const word = (length: number): string => Array.from({ length }, () => letters[next() % letters.length]).join('');
      const stops = Array.from({ length: 1 + (next() % 4) }, () => word(1 + (next() % 6)));
      const text = word(next() % 30);
      const pieces: string[] = [];
      for (let at = 0; at < text.length; ) {
        const length = 1 + (next() % 4);
        pieces.push(text.slice(at, at + length));
        at += length;
      }
      const include = next() % 2 === 0;
      expect(stream(pieces, stops, include)).toEqual(expected(text, stops, include));
    }
  });

  it('takes linear time in the text, however long the stop strings are', () => {
    const stops = [`${'a'.repeat(50_000)}b`, ...Array.from({ length: 2000 }, (_, i) => `stop number ${i}`)];
    const matcher = new StopStrings(stops);
    const start = performance.now();
    for (let i = 0; i < 200_000; i++) matcher.push('a');
    expect(matcher.flush().length).toBe(50_000);
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  it('refuses empty stop strings', () => {
    expect(() => new StopStrings(['a', ''])).toThrow(OptionError);
    expect(stream(['abc'], [])).toEqual({ text: 'abc', stopped: undefined });
  });
});
