import { describe, expect, it } from 'vitest';
import { didYouMean, editDistance, suggest } from '../../lib/runtime/suggest.js';

describe('editDistance', () => {
  it('counts insertions, deletions, replacements and swaps', () => {
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('adpater', 'adapter')).toBe(1);
    expect(editDistance('model', 'mode')).toBe(1);
    expect(editDistance('same', 'same')).toBe(0);
  });
});

describe('suggest', () => {
  const options = ['model', 'adapter', 'maxTokens', 'temperature', 'top-p', 'json', 'seed'];

  it('finds the nearest name', () => {
    expect(suggest('modle', options)).toBe('model');
    expect(suggest('adaptor', options)).toBe('adapter');
    expect(suggest('max_tokens', options)).toBe('maxTokens');
    expect(suggest('MAX-TOKEN', options)).toBe('maxTokens');
    expect(suggest('temprature', options)).toBe('temperature');
    expect(suggest('topp', options)).toBe('top-p');
  });

  it('says nothing where nothing is near', () => {
    expect(suggest('banana', options)).toBeUndefined();
    expect(suggest('x', options)).toBeUndefined();
    expect(suggest('', options)).toBeUndefined();
    expect(suggest('m'.repeat(100_000), options)).toBeUndefined();
    expect(didYouMean('banana', options)).toBe('');
    expect(didYouMean('sed', options)).toBe(" Did you mean 'seed'?");
  });
});
