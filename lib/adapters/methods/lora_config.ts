import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import { readMethodOptions } from '../method_options.js';
import { ModulePattern } from '../module_pattern.js';

/** The options of a PEFT LoRA adapter that change results. */
export interface LoraConfig {
  readonly adapter: string;
  readonly rank: number;
  readonly alpha: number;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly ranks: ModulePattern;
  readonly alphas: ModulePattern;
  /** alpha / √rank instead of alpha / rank. Kalajdzievski, https://arxiv.org/abs/2312.03732. */
  readonly rankStabilised: boolean;
  readonly magnitudes: boolean;
  readonly biasOfB: boolean;
  readonly baseChange: 'pissa' | 'olora' | undefined;
}

const pattern = z.record(z.string(), z.number().finite()).nullish();

const schema = z.looseObject({
  r: z.number().int().min(1).max(65_536),
  lora_alpha: z.number().finite().nullish(),
  rank_pattern: z.record(z.string(), z.number().int().min(1)).nullish(),
  alpha_pattern: pattern,
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  lora_bias: z.boolean().nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
});

// Options that change what an adapter computes, in ways that are not built. `velora_config`, `megatron_config`, `eva_config`,
// `corda_config`, dropout and the like only matter in training.
const unsupported: readonly (readonly [option: string, meaning: string])[] = [
  ['alora_invocation_tokens', 'adapters that start at an invocation string (aLoRA)'],
  ['arrow_config', 'routing between adapters (Arrow)'],
  ['kasa_config', 'truncated base weights (KaSA)'],
  ['layer_replication', 'replicated layers'],
  ['monteclora_config', 'sampled factors (MonteCLoRA)'],
  ['target_parameters', 'factors on parameters that are not linear modules'],
  ['trainable_token_indices', 'single trained tokens'],
  ['use_bdlora', 'block-diagonal factors (BD-LoRA)'],
  ['use_qalora', 'pooled inputs (QA-LoRA)'],
];
const known = new Set([...unsupported.map(([option]) => option), 'use_rslora', 'use_dora']);

// Initialisations that leave the base weight as it is.
const harmlessStarts = new Set(['gaussian', 'eva', 'orthogonal', 'mica']);

/** True for null, false, 0, '' and empty lists and objects: an option that is not used. */
export function isUnset(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** Reads the options of a LoRA adapter. Throws AdapterError that names the option. */
export function readLoraConfig(raw: Readonly<Record<string, unknown>>, adapter: string): LoraConfig {
  for (const [option, meaning] of unsupported)
    if (!isUnset(raw[option]))
      throw new AdapterError(`${adapter}: ${option} is set: ${meaning} are not supported`, { option, actual: raw[option] });
  for (const option of Object.keys(raw))
    if (option.startsWith('use_') && !known.has(option) && raw[option] === true)
      throw new AdapterError(`${adapter}: ${option} is true, an option that is not known`, { option, actual: true });
  const options = readMethodOptions(schema, raw, adapter);
  const start = String(options.init_lora_weights ?? true).toLowerCase();
  const baseChange = start === 'olora' ? 'olora' : start === 'pissa' || /^pissa_niter_\d+$/.test(start) ? 'pissa' : undefined;
  if (baseChange === undefined && start !== 'true' && start !== 'false' && !harmlessStarts.has(start))
    throw new AdapterError(
      `${adapter}: init_lora_weights is '${options.init_lora_weights}': the base weights that such an adapter was trained on cannot be rebuilt from its folder. ` +
        'Save it with path_initial_model_for_weight_conversion to make it a plain LoRA',
      { option: 'init_lora_weights', actual: options.init_lora_weights },
    );
  if (options.lora_bias && options.use_dora)
    throw new AdapterError(`${adapter}: lora_bias and use_dora are both true, which PEFT does not allow`, { option: 'lora_bias' });
  const rankPattern = options.rank_pattern ?? {};
  const alphaPattern = options.alpha_pattern ?? {};
  return {
    adapter,
    rank: options.r,
    alpha: options.lora_alpha ?? 8,
    rankPattern,
    alphaPattern,
    ranks: new ModulePattern('rank_pattern', rankPattern, adapter),
    alphas: new ModulePattern('alpha_pattern', alphaPattern, adapter),
    rankStabilised: options.use_rslora ?? false,
    magnitudes: options.use_dora ?? false,
    biasOfB: options.lora_bias ?? false,
    baseChange,
  };
}
