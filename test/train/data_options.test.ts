import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { parseDataOptions } from '../../lib/train/data/data_options.js';

describe('parseDataOptions', () => {
  it('takes a file, several, or files with options', () => {
    const one = parseDataOptions('a.txt');
    expect(one).toMatchObject({
      files: ['a.txt'],
      format: 'auto',
      form: 'auto',
      documents: 'file',
      trainOnPrompt: false,
      maxBadLines: 0,
      pack: false,
      batchSize: 8,
      shuffle: true,
      seed: 0,
    });
    expect(parseDataOptions(['a', 'b']).files).toEqual(['a', 'b']);
    expect(parseDataOptions({ files: 'a.txt' })).toEqual(one);
    expect(parseDataOptions({ files: ['a'], evaluation: 0.1, tooLong: 'error', maxBadLines: 3 })).toMatchObject({
      evaluation: 0.1,
      tooLong: 'error',
      maxBadLines: 3,
    });
  });

  it.each<[unknown, RegExp]>([
    [{ files: 'a', maxBadLine: 3 }, /data has no option 'maxBadLine': did you mean 'maxBadLines'/],
    [{ files: 'a', batch_size: 3 }, /did you mean 'batchSize'/],
    [{ files: 'a', evaluation: 1 }, /data.evaluation is 1/],
    [{ files: 'a', evaluation: 0 }, /data.evaluation is 0/],
    [{ files: [] }, /data.files is \[\]/],
    [{ files: 'a', format: 'csv' }, /data.format is "csv"/],
    [{ files: 'a', maxLength: 1 }, /data.maxLength is 1/],
    [{ files: 'a', seed: 0.5 }, /data.seed is 0.5/],
    [{ files: 'a', onBadLine: 3 }, /data.onBadLine is 3: expected a function/],
    [{}, /data.files/],
    [7, /data is 7/],
  ])('refuses %j', (options, message) => {
    expect(() => parseDataOptions(options as never)).toThrow(OptionError);
    expect(() => parseDataOptions(options as never)).toThrow(message);
  });

  it('names the adapter whose data it is', () => {
    expect(() => parseDataOptions({ files: 'a', pack: 1 } as never, 'adapters.poet.data')).toThrow(/adapters.poet.data.pack is 1/);
  });
});
