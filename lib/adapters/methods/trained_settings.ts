// What adapter_config.json says of an adapter that is trained on: the way back of each trainable method's `config`.
import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import type { PeftConfig } from '../peft_adapter.js';
import type { LoraConfig } from './lora_config.js';

/** Settings of a training that a folder decides. */
export interface FolderSettings {
  /** Methods that can go on from it, the usual one first. */
  readonly methods: readonly string[];
  readonly rank?: number;
  readonly alpha?: number;
  readonly rsLora?: boolean;
  readonly methodOptions?: Readonly<Record<string, unknown>>;
}

const count = z.number().int().min(1);
const readers: Readonly<Record<string, (config: PeftConfig) => FolderSettings>> = {
  LORA: loraSettings,
  IA3: ({ written, adapter }) => {
    const names = z.looseObject({ feedforward_modules: z.array(z.string()).nullish() });
    return {
      methods: ['ia3'],
      methodOptions: { feedforwardModules: readMethodOptions(names, written, adapter).feedforward_modules ?? [] },
    };
  },
  LN_TUNING: () => ({ methods: ['ln-tuning'] }),
  SHIRA: ({ written, adapter }) => ({ methods: ['shira'], rank: readMethodOptions(z.looseObject({ r: count }), written, adapter).r }),
  TRAINABLE_TOKENS: ({ options }) => ({ methods: ['trainable-tokens'], methodOptions: options as { tokens: readonly number[] } }),
  PROMPT_TUNING: (config) => virtualTokens('prompt-tuning', config),
  PREFIX_TUNING: (config) => virtualTokens('prefix-tuning', config),
};

/** Throws AdapterError where no trainable method has the adapter's type, or where the type is used in a way that none trains. */
export function folderSettings(config: PeftConfig): FolderSettings {
  const { peftType } = config.method;
  const reader = Object.hasOwn(readers, peftType) ? readers[peftType] : undefined;
  if (reader !== undefined) return reader(config);
  const types = Object.keys(readers);
  throw new AdapterError(`${config.adapter}: peft_type is ${peftType}: adapters that can be trained on are ${types.join(', ')}`, {
    option: 'peft_type',
    actual: peftType,
    expected: types,
  });
}

function loraSettings({ adapter, options, written }: PeftConfig): FolderSettings {
  const { rank, alpha, rankPattern, alphaPattern, rankStabilised, magnitudes, biasOfB, baseChange } = options as LoraConfig;
  if (baseChange !== undefined)
    refuseOption(
      adapter,
      'init_lora_weights',
      written.init_lora_weights,
      'what can be trained on leaves the base as it is; save it with path_initial_model_for_weight_conversion to make it a plain LoRA',
    );
  for (const [option, value] of [
    ['rank_pattern', rankPattern],
    ['alpha_pattern', alphaPattern],
  ] as const)
    if (Object.keys(value).length > 0)
      refuseOption(adapter, option, value, 'what is trained on has one rank and one alpha for all modules');
  const methods = biasOfB ? ['bitfit'] : magnitudes ? ['dora'] : ['lora', 'lora-fa', 'dylora', 'lora-xs', 'lora-sb'];
  return { methods, rank, alpha, rsLora: rankStabilised };
}

function virtualTokens(method: string, { options }: PeftConfig): FolderSettings {
  return { methods: [method], methodOptions: { virtualTokens: (options as { tokens: number }).tokens } };
}
