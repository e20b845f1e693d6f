import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';

const schema = z.looseObject({
  variant: z.enum(['road_1', 'road_2', 'road_4']).nullish(),
  group_size: z.number().int().min(2).multipleOf(2).nullish(),
});

interface RoadConfig {
  readonly variant: 'road_1' | 'road_2' | 'road_4';
  readonly groupSize: number;
}

/** What each output keeps of itself, and what it gets of its partner in the other half of its group. */
export interface PairRotation {
  readonly own: Float64Array;
  readonly partner: Float64Array;
}

/** α cos θ and ± α sin θ of every output. road_1: one angle for both outputs of a pair; road_2: one for each; road_4: one each for sine and cosine. */
export function pairRotation(theta: Float64Array, alpha: Float64Array, { variant, groupSize }: RoadConfig, outputs: number): PairRotation {
  const half = groupSize / 2;
  const own = new Float64Array(outputs);
  const partner = new Float64Array(outputs);
  for (let n = 0; n < outputs; n++) {
    const group = Math.floor(n / groupSize);
    const inside = n % groupSize;
    const at = { road_1: group * half + (inside % half), road_2: n, road_4: group * 2 * groupSize + inside }[variant];
    const ofSine = variant === 'road_4' ? at + groupSize : at;
    own[n] = (alpha[at] as number) * Math.cos(theta[at] as number);
    partner[n] = (inside < half ? -1 : 1) * (alpha[ofSine] as number) * Math.sin(theta[ofSine] as number);
  }
  return { own, partner };
}

/** Mixes rows of `width` numbers in pairs of outputs, in place; row 0 is output `first`, which begins a group. */
export function mixPairs(rows: Float64Array, first: number, width: number, { own, partner }: PairRotation, groupSize: number): void {
  const half = groupSize / 2;
  for (let r = 0; r < rows.length / width; r++) {
    if (r % groupSize >= half) continue;
    for (let i = 0; i < width; i++) {
      const [at, below] = [r * width + i, (r + half) * width + i];
      const [x, y] = [rows[at] as number, rows[below] as number];
      rows[at] = (own[first + r] as number) * x + (partner[first + r] as number) * y;
      rows[below] = (own[first + r + half] as number) * y + (partner[first + r + half] as number) * x;
    }
  }
}

/** Outputs turned and scaled in pairs: R (W x + b). Liao and Monz, https://arxiv.org/abs/2409.00119. */
export const road: AdapterMethod<RoadConfig> = {
  peftType: 'ROAD',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const { variant, group_size: groupSize } = readMethodOptions(schema, raw, adapter);
    return { variant: variant ?? 'road_1', groupSize: groupSize ?? 64 };
  },

  identity: (config) => config,
  split: partNames(['road_theta', 'road_alpha']),
  describe: ({ variant }) => `RoAd (${variant})`,
  measure: () => undefined,

  read(config, { adapter, base, site }, parts) {
    const { inputs, outputs } = site;
    const { groupSize } = config;
    if (outputs % groupSize !== 0)
      throw new AdapterError(
        `${adapter} does not fit ${base}: group_size ${groupSize} does not divide the ${outputs} outputs of ${site.path}`,
        {
          option: 'group_size',
          actual: groupSize,
          base,
        },
      );
    const count = outputs * { road_1: 0.5, road_2: 1, road_4: 2 }[config.variant];
    const turn = pairRotation(parts.values('road_theta', [count]), parts.values('road_alpha', [count]), config, outputs);
    return {
      kind: 'weight',
      rowGroup: groupSize,
      workPerRow: 2 * inputs,
      merge: (rows, first) => mixPairs(rows, first, inputs, turn, groupSize),
      mergeBias: (bias) => mixPairs(bias, 0, 1, turn, groupSize),
    };
  },
};
