import { z } from 'zod';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { ModulePattern } from '../module_pattern.js';
import { partNames } from '../part_names.js';
import { turned } from '../rows.js';

const schema = z.looseObject({
  r: z.number().int().min(1).max(65_536),
  rank_pattern: z.record(z.string(), z.number().int().min(1)).nullish(),
});

interface HiraConfig {
  readonly rank: number;
  readonly rankPattern: Readonly<Record<string, number>>;
  rankOf(module: string): number;
}

/** Multiplies rows `first`.. of a weight elementwise by 1 + B A. b [rows of the weight, rank], a [rank, width]. */
export function multiplyByLowRank(rows: Float64Array, first: number, b: Float64Array, a: Float64Array, rank: number, width: number): void {
  const factors = new Float64Array(width);
  for (let r = 0; r < rows.length / width; r++) {
    factors.fill(1);
    for (let j = 0; j < rank; j++) {
      const factor = b[(first + r) * rank + j] as number;
      for (let i = 0; i < width; i++) factors[i] = (factors[i] as number) + factor * (a[j * width + i] as number);
    }
    for (let i = 0; i < width; i++) rows[r * width + i] = (rows[r * width + i] as number) * (factors[i] as number);
  }
}

/** The weight times a low-rank product, elementwise: W ∘ (1 + B A). Huang et al., https://openreview.net/forum?id=TwJrTz9cRS. */
export const hira: AdapterMethod<HiraConfig> = {
  peftType: 'HIRA',
  sites: ['linear', 'embedding'],

  readConfig(raw, adapter) {
    const options = readMethodOptions(schema, raw, adapter);
    const rankPattern = options.rank_pattern ?? {};
    const ranks = new ModulePattern('rank_pattern', rankPattern, adapter);
    return { rank: options.r, rankPattern, rankOf: (module) => ranks.find(module) ?? options.r };
  },

  identity: ({ rank, rankPattern }) => ({ rank, rankPattern }),
  split: partNames(['hira_A', 'hira_B', 'hira_embedding_A', 'hira_embedding_B']),
  describe: () => 'HiRA',

  measure(_config, _module, shapes) {
    const rank = (shapes.get('hira_A') ?? shapes.get('hira_embedding_A'))?.[0];
    return rank === undefined ? undefined : { rank, scale: 1 };
  },

  read(config, { site, module }, parts) {
    const { inputs, outputs } = site;
    const rank = config.rankOf(module);
    const embeds = site.kind === 'embedding';
    const name = embeds ? 'hira_embedding_' : 'hira_';
    const a = parts.values(`${name}A`, [rank, inputs]);
    const b = parts.values(`${name}B`, [outputs, rank]);
    // An embedding's table has a row for each input.
    const [ofRows, ofColumns, width] = embeds ? [turned(a, rank, inputs), turned(b, outputs, rank), outputs] : [b, a, inputs];
    return {
      kind: 'weight',
      rowGroup: 1,
      workPerRow: width * (rank + 1),
      merge: (rows, first) => multiplyByLowRank(rows, first, ofRows, ofColumns, rank, width),
    };
  },
};
