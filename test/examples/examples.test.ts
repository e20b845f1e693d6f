import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repository } from '../cli/run_cli.ts';

const folder = join(repository, 'examples');

/** What an example prints that shows it did its work. */
const expected: Record<string, RegExp[]> = {
  'chat_with_adapters.mjs': [/poet: \S?/, /cynic: /, /\npoet: LoRA, rank 8, 165888 parameters\n$/],
  // Each text is least surprising to the adapter that was trained on its author.
  'score_texts.mjs': [
    /^playwright: "To be/m,
    /^poet: "I celebrate/m,
    /^cynic: "TELEPHONE/m,
    /^detective: "To Sherlock/m,
    /^president: "The Congress/m,
    /5 adapters in one/,
  ],
  'gradient.mjs': [
    /^step 0: loss \d/,
    /\nstep 400: loss 0\.0/,
    /slope: Float32Array\(1\) \[ 108 \], curvature: Float32Array\(1\) \[ 108 \]/,
  ],
  'graph.mjs': [/^\[add\] b is \[rows, 4\]: expected \[rows, 3\]/, /row 2 of 3: class \d/],
};

describe('examples', () => {
  it('are all tried here', () => {
    expect(
      readdirSync(folder)
        .filter((name) => name.endsWith('.mjs'))
        .sort(),
    ).toEqual(Object.keys(expected).sort());
  });

  it.each(Object.entries(expected))('%s', (name, patterns) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, name)], { encoding: 'utf8' });
    expect(stderr).toBe('');
    for (const pattern of patterns) expect(stdout).toMatch(pattern);
    expect(status).toBe(0);
  });
});
