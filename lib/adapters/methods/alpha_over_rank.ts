import { z } from 'zod';
import { readMethodOptions } from '../method_options.js';
import { ModulePattern } from '../module_pattern.js';

const schema = z.looseObject({
  r: z.number().int().min(1).max(65_536),
  alpha: z.number().finite().nullish(),
  rank_pattern: z.record(z.string(), z.number().int().min(1)).nullish(),
  alpha_pattern: z.record(z.string(), z.number().finite()).nullish(),
});

/** Rank and alpha with their patterns, as LoHa and LoKr have them. */
export interface AlphaOverRank {
  readonly rank: number;
  readonly alpha: number;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  rankOf(module: string): number;
  /** alpha / rank */
  scaleOf(module: string): number;
}

/** Reads r, alpha, rank_pattern and alpha_pattern. Throws AdapterError that names the option. */
export function readAlphaOverRank(raw: Readonly<Record<string, unknown>>, adapter: string): AlphaOverRank {
  const options = readMethodOptions(schema, raw, adapter);
  const rankPattern = options.rank_pattern ?? {};
  const alphaPattern = options.alpha_pattern ?? {};
  const ranks = new ModulePattern('rank_pattern', rankPattern, adapter);
  const alphas = new ModulePattern('alpha_pattern', alphaPattern, adapter);
  const rank = options.r;
  const alpha = options.alpha ?? 8;
  const rankOf = (module: string): number => ranks.find(module) ?? rank;
  return { rank, alpha, rankPattern, alphaPattern, rankOf, scaleOf: (module) => (alphas.find(module) ?? alpha) / rankOf(module) };
}
