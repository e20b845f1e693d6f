// Every trainable method with the options that tests train it with.
import type { TrainOptions } from '../../lib/train/options.js';
import { fixtureModel } from './driving_training.js';
import { otherCases } from './other_trainable_cases.ts';

/** One row of the life-cycle test. */
export interface TrainableCase {
  readonly name: string;
  readonly options: Omit<TrainOptions, 'model' | 'output' | 'data' | 'adapters'>;
  readonly rate: number;
  /** Folder of a model. Default: the tiny Llama. */
  readonly model?: string;
  /** Relative error of a tensor that is saved, read and saved again. Default 0: the same bits. */
  readonly roundTrip?: number;
  /** How far log-probabilities begin from the base's, where the method does not start there. Undefined: further than 1e-4. */
  readonly startsWithin?: number;
  /** What merging refuses with, where a merged model has no place for what is trained. */
  readonly refusesMerge?: RegExp;
  /** Evaluation and training step see the same function: not so where a step uses a part of the factors. */
  readonly differentiable?: boolean;
}

const targets = { rank: 3, alpha: 6, targetModules: ['q_proj', 'v_proj', 'down_proj'] };

const gpt2Targets = { rank: 3, alpha: 6, targetModules: ['c_attn', 'c_fc'] };

/** The methods. */
export const trainableCases: readonly TrainableCase[] = [
  { name: 'lora', options: { method: 'lora', ...targets }, rate: 1e-2 },
  {
    name: 'lora, gaussian, rsLoRA, LoRA+',
    options: { method: 'lora', ...targets, init: 'gaussian', rsLora: true, loraPlusRatio: 4 },
    rate: 5e-3,
  },
  { name: 'lora, pissa', options: { method: 'lora', ...targets, init: 'pissa' }, rate: 5e-3 },
  { name: 'lora, pissa, rsLoRA', options: { method: 'lora', ...targets, init: 'pissa', rsLora: true }, rate: 5e-3 },
  { name: 'lora, olora', options: { method: 'lora', ...targets, init: 'olora' }, rate: 5e-3 },
  { name: 'lora, corda ipm', options: { method: 'lora', ...targets, init: 'corda' }, rate: 5e-3 },
  { name: 'lora, corda kpm', options: { method: 'lora', ...targets, init: 'corda', methodOptions: { mode: 'kpm' } }, rate: 5e-3 },
  { name: 'lora-fa', options: { method: 'lora-fa', ...targets }, rate: 1e-2 },
  { name: 'dora', options: { method: 'dora', ...targets }, rate: 1e-2 },
  {
    name: 'dylora',
    options: { method: 'dylora', ...targets, rank: 4, methodOptions: { frozen: false, minRank: 4 } },
    rate: 1e-2,
  },
  { name: 'dylora, frozen', options: { method: 'dylora', ...targets, rank: 4 }, rate: 1e-2, differentiable: false },
  { name: 'lora-xs', options: { method: 'lora-xs', ...targets, rank: 6 }, rate: 2e-2, roundTrip: 1e-5, startsWithin: 1e-3 },
  { name: 'lora-sb', options: { method: 'lora-sb', ...targets, rank: 6, methodOptions: { stepSize: 1e-3 } }, rate: 1e-2, roundTrip: 1e-5 },
  // Weights stored as [inputs, outputs], and biases.
  { name: 'lora over GPT-2', options: { method: 'lora', ...gpt2Targets, init: 'pissa' }, rate: 5e-3, model: fixtureModel('gpt2') },
  { name: 'dora over GPT-2', options: { method: 'dora', ...gpt2Targets }, rate: 1e-2, model: fixtureModel('gpt2') },
  { name: 'lora-fa over GPT-2', options: { method: 'lora-fa', ...gpt2Targets }, rate: 1e-2, model: fixtureModel('gpt2') },
  {
    ...{ name: 'lora-sb over GPT-2', rate: 1e-2, roundTrip: 1e-5, model: fixtureModel('gpt2') },
    options: { method: 'lora-sb', ...gpt2Targets, methodOptions: { stepSize: 1e-3, update: 'raw' } },
  },
  // Biases of queries, keys and values, which run as one matrix.
  { name: 'lora over Qwen2', options: { method: 'lora', rank: 3, alpha: 6 }, rate: 1e-2, model: fixtureModel('qwen2') },
  { name: 'dora over Qwen2', options: { method: 'dora', rank: 3, alpha: 6 }, rate: 1e-2, model: fixtureModel('qwen2') },
  { name: 'dora over Llama with biases', options: { method: 'dora', rank: 3, alpha: 6 }, rate: 1e-2, model: fixtureModel('llama-bias') },
  ...otherCases,
];
