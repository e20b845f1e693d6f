// Trainable methods that are no products of two factors.
import { randomTokens } from '../engine/driving.ts';
import { fixtureModel } from './driving_training.ts';
import type { TrainableCase } from './trainable_cases.ts';

// Some that the documents of the tests hold, and one that none does.
const tokens = [...new Set([...randomTokens(23, 96, 1).slice(2, 5), ...randomTokens(29, 256, 3).slice(4, 7), 1])];
const positions = /brings \d+ positions in front of the text, which no weight holds/;
const linear = { targetModules: ['k_proj', 'v_proj', 'down_proj'] };

/** Rows of the table of trainable methods. */
export const otherCases: readonly TrainableCase[] = [
  { name: 'ia3', options: { method: 'ia3', ...linear }, rate: 5e-2 },
  { name: 'ia3, all modules', options: { method: 'ia3' }, rate: 2e-2 },
  { name: 'ia3 on gpt2', model: fixtureModel('gpt2'), options: { method: 'ia3', targetModules: ['c_attn', 'mlp.c_proj'] }, rate: 5e-2 },
  { name: 'bitfit', options: { method: 'bitfit' }, rate: 2e-2, refusesMerge: /adds a bias to .* which has none/ },
  { name: 'bitfit on gpt2, which has biases', model: fixtureModel('gpt2'), options: { method: 'bitfit' }, rate: 2e-2 },
  { name: 'ln-tuning', options: { method: 'ln-tuning' }, rate: 2e-2 },
  { name: 'ln-tuning on gpt2, with biases', model: fixtureModel('gpt2'), options: { method: 'ln-tuning' }, rate: 2e-2 },
  { name: 'ln-tuning on gemma2, weights stored from one', model: fixtureModel('gemma2'), options: { method: 'ln-tuning' }, rate: 2e-2 },
  { name: 'ln-tuning on gemma3, norms of heads', model: fixtureModel('gemma3'), options: { method: 'ln-tuning' }, rate: 2e-2 },
  { name: 'trainable-tokens', options: { method: 'trainable-tokens', methodOptions: { tokens } }, rate: 5e-2 },
  {
    name: 'trainable-tokens, tied',
    model: fixtureModel('llama3-rope-tied'),
    options: { method: 'trainable-tokens', methodOptions: { tokens } },
    rate: 5e-2,
  },
  { name: 'shira', options: { method: 'shira', rank: 3, targetModules: ['q_proj', 'v_proj', 'down_proj'] }, rate: 1e-2 },
  { name: 'shira, largest', options: { method: 'shira', rank: 3, methodOptions: { mask: 'largest' } }, rate: 1e-2 },
  { name: 'prompt-tuning', options: { method: 'prompt-tuning', methodOptions: { virtualTokens: 5 } }, rate: 5e-2, refusesMerge: positions },
  {
    name: 'prompt-tuning, random, on gpt2',
    model: fixtureModel('gpt2'),
    options: { method: 'prompt-tuning', init: 'random', methodOptions: { virtualTokens: 3 } },
    rate: 5e-2,
    refusesMerge: positions,
  },
  {
    name: 'prompt-tuning on gemma2, windows',
    model: fixtureModel('gemma2'),
    options: { method: 'prompt-tuning', methodOptions: { virtualTokens: 7 } },
    rate: 5e-2,
    refusesMerge: positions,
  },
  { name: 'prefix-tuning', options: { method: 'prefix-tuning', methodOptions: { virtualTokens: 5 } }, rate: 5e-2, refusesMerge: positions },
  {
    name: 'prefix-tuning on gpt2',
    model: fixtureModel('gpt2'),
    options: { method: 'prefix-tuning', methodOptions: { virtualTokens: 4 } },
    rate: 5e-2,
    refusesMerge: positions,
  },
  {
    name: 'prefix-tuning within windows',
    model: fixtureModel('mistral-window'),
    options: { method: 'prefix-tuning', methodOptions: { virtualTokens: 20 } },
    rate: 5e-2,
    refusesMerge: positions,
  },
  ...(['parallel', 'series'] as const).flatMap((mode) =>
    (['relu', 'gelu', 'tanh', 'silu'] as const).map((activation) => ({
      name: `bottleneck, ${mode}, ${activation}`,
      options: {
        method: 'bottleneck',
        rank: 5,
        targetModules: ['q_proj', 'v_proj', 'down_proj'],
        methodOptions: { mode, activation, scaling: 1.5 },
      },
      rate: 1e-2,
      refusesMerge: /between two layers at .* which no weight holds/,
    })),
  ),
  {
    name: 'bottleneck, bert, on gpt2',
    model: fixtureModel('gpt2'),
    options: { method: 'bottleneck', rank: 3, init: 'bert', methodOptions: { mode: 'series' } },
    rate: 1e-2,
    refusesMerge: /between two layers at .* which no weight holds/,
    startsWithin: 5e-2,
  },
];
