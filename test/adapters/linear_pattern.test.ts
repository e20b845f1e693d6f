import { describe, expect, it } from 'vitest';
import { LinearPattern } from '../../lib/adapters/linear_pattern.ts';

const patterns = [
  'q_proj',
  'layers.0.q_proj',
  'layers\\.(0|1)\\..*',
  '.*(q|v)_proj',
  '(?:layers\\.[0-3]\\.)?.*_proj',
  '(?<which>q|k)_proj',
  'layers\\.\\d+\\.(self_attn|mlp)\\.\\w+',
  '[^.]+\\.[^.]+',
  '[]x]_proj|lm_head',
  '[\\w.]{3,12}',
  '(a|aa)*b?',
  'a{2}b{1,}c{0,2}',
  'x*?y+?',
  '\\blayers\\b.*',
  '^layers.*proj$',
  '',
  '(|a)+',
  'a|',
  '\\(q\\)',
];
const texts = [
  '',
  'a',
  'aab',
  'aabbc',
  'xxy',
  'y',
  'q_proj',
  'k_proj',
  'x_proj',
  ']_proj',
  'lm_head',
  '(q)',
  'layers.0.q_proj',
  'layers.1.mlp.up_proj',
  'layers.12.self_attn.q_proj',
  'model.norm',
  'aaaa',
];

describe('LinearPattern', () => {
  it('agrees with the built-in expressions', () => {
    for (const source of patterns) {
      // JavaScript closes an empty set at its first bracket, Python takes the bracket as a member.
      const expression = new RegExp(`^(?:${source.replace('[]', '[\\]')})$`);
      for (const text of texts) expect(new LinearPattern(source).matches(text), `${source} on '${text}'`).toBe(expression.test(text));
    }
  });

  it('takes Python spellings', () => {
    expect(new LinearPattern('\\Aa(?P<n>b)\\Z').matches('ab')).toBe(true);
  });

  it('is fast where backtracking would take for ever', () => {
    expect(new LinearPattern('((a+)+)+!').matches('a'.repeat(500))).toBe(false);
    expect(new LinearPattern('(.*.*)*.*x').matches('a'.repeat(500))).toBe(false);
  });

  it('says what it does not understand', () => {
    for (const [source, reason] of [
      ['(a', 'not closed'],
      ['a)', 'closes nothing'],
      ['[a', 'not closed'],
      ['*a', 'repeats nothing'],
      ['(?=a)', 'not supported'],
      ['(a)\\1', 'not supported'],
      ['a{3,2}', 'no range'],
      ['a\\', 'backslash'],
      ['((a{90}){90}){90}', 'too much'],
      ['('.repeat(60), 'too deeply'],
      ['a'.repeat(1001), 'longer than'],
    ] as const)
      expect(() => new LinearPattern(source), source).toThrow(reason);
  });
});
