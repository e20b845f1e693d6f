// Training on a CUDA device against the processor: the same losses within what the order of sums changes.
import './long_runs.js';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadModel, memory, type TrainEvent, type TrainOptions, train } from '../../lib/index.js';
import { randomTokens, until } from '../engine/driving.js';
import { testedCuda } from '../kernels/test_devices.js';
import { storyteller } from '../models/fixture_files.js';
import { batchOfDocuments, steps, trainOne } from '../train/driving_training.js';

const device = testedCuda?.name ?? 'cuda';
// Emulated steps take long.
const timeout = 600_000;
const scratch = mkdtempSync(join(tmpdir(), 'heddle-cuda-training-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const batch = batchOfDocuments([randomTokens(13, 256, 1), randomTokens(7, 256, 2), randomTokens(21, 256, 3)]);
const targets = { rank: 3, alpha: 6, targetModules: ['q_proj', 'v_proj', 'down_proj'] };

type Case = [string, Parameters<typeof trainOne>[0], number];
const cases: Case[] = [
  ['lora', { method: 'lora', ...targets }, 1e-2],
  ['lora without recomputation', { method: 'lora', ...targets, recompute: 'none' }, 1e-2],
  ['lora, layers computed again', { method: 'lora', ...targets, recompute: 'layer' }, 1e-2],
  ['lora with sgd', { method: 'lora', ...targets, optimiser: 'sgd', clipNorm: 0.5 }, 1e-1],
  ['dora', { method: 'dora', ...targets }, 1e-2],
  ['dylora', { method: 'dylora', ...targets, rank: 4 }, 1e-2],
  ['ia3', { method: 'ia3' }, 5e-2],
  ['ln-tuning', { method: 'ln-tuning' }, 1e-2],
  ['shira', { method: 'shira', rank: 3, targetModules: ['q_proj', 'v_proj'] }, 1e-2],
  [
    'bottleneck',
    { method: 'bottleneck', rank: 5, targetModules: ['q_proj', 'v_proj'], methodOptions: { mode: 'series', activation: 'gelu' } },
    1e-2,
  ],
  ['trainable-tokens', { method: 'trainable-tokens', methodOptions: { tokens: randomTokens(7, 256, 2).slice(1, 5) } }, 1e-2],
  ['prompt-tuning', { method: 'prompt-tuning', methodOptions: { virtualTokens: 4 } }, 1e-1],
  ['prefix-tuning', { method: 'prefix-tuning', methodOptions: { virtualTokens: 4 } }, 1e-1],
];

const losses = async (where: string, options: Case[1], rate: number): Promise<number[]> => {
  using one = await trainOne({ ...options, device: where }, [batch]);
  expect(one.parameters.values.device.name).toBe(where);
  return await steps(one, batch, 4, rate);
};

describe.skipIf(testedCuda === undefined)('steps on a CUDA device', { timeout }, () => {
  it.each(cases)('%s: losses are those of the processor', async (_, options, rate) => {
    const expected = await losses('cpu', options, rate);
    const actual = await losses(device, options, rate);
    expect(expected.at(-1)).toBeLessThan(expected[0] as number);
    actual.forEach((loss, i) => {
      expect(Math.abs(loss - (expected[i] as number)), `step ${i}: ${loss}, expected ${expected[i]}`).toBeLessThan(2e-4 * (i + 1));
    });
  });

  it('come to the same bits in every run', async () => {
    const [, options, rate] = cases[0] as Case;
    expect(await losses(device, options, rate)).toEqual(await losses(device, options, rate));
  });
});

describe.skipIf(testedCuda === undefined)('train on a CUDA device', { timeout }, () => {
  const data = join(scratch, 'data.jsonl');
  const line = (i: number): string => JSON.stringify({ tokens: randomTokens(6 + (i % 5), 2048, 100 + i) });
  writeFileSync(data, Array.from({ length: 16 }, (_, i) => `${line(i)}\n`).join(''));
  const options = (output: string): TrainOptions => ({
    ...{ model: storyteller.base, output: join(scratch, output), device, data: { files: data, batchSize: 4, evaluation: 0.25 } },
    ...{ rank: 3, steps: 4, saveEvery: 2, learningRate: 1e-2, samples: false },
  });
  const bytes = (): number => memory().devices.reduce((sum, one) => sum + one.bytes, 0);

  it('saves an adapter that serves, plans what it takes and gives it back', async () => {
    const before = bytes();
    const events: TrainEvent[] = [];
    const result = await train({ ...options('whole'), onEvent: (event) => events.push(event) });
    await until(() => bytes() === before, 'the memory comes back');
    expect(events.find(({ type }) => type === 'plan')).toMatchObject({ device });
    expect(result.peakBytes).toBeGreaterThanOrEqual(result.plannedBytes);
    const evaluations = events.flatMap((event) => (event.type === 'evaluation' ? [event.adapters.adapter?.loss as number] : []));
    expect(evaluations.length).toBeGreaterThan(1);
    using model = await loadModel(storyteller.base, { device, adapters: { own: result.adapters.adapter?.folder as string } });
    const { logprobs } = await model.score({ tokens: randomTokens(9, 2048, 104), adapter: 'own' });
    expect(logprobs.slice(1).every((value) => Number.isFinite(value))).toBe(true);
  });

  it('goes on from a checkpoint to the same bits', async () => {
    const lossesOf = (events: readonly TrainEvent[]) =>
      events.flatMap((event) => (event.type === 'step' ? [[event.step, event.adapters.adapter?.loss]] : []));
    const run = async (output: string, control: Partial<Parameters<typeof train>[0]> = {}): Promise<TrainEvent[]> => {
      const events: TrainEvent[] = [];
      await train({ ...options(output), ...control, onEvent: (event) => events.push(event) }).catch((error: Error) => {
        if (error.name !== 'AbortError') throw error;
      });
      return events;
    };
    const whole = lossesOf(await run('reference'));
    const controller = new AbortController();
    const first: TrainEvent[] = [];
    await train({
      ...options('parts'),
      signal: controller.signal,
      onEvent: (event) => {
        first.push(event);
        if (event.type === 'step' && event.step === 2) controller.abort();
      },
    }).catch((error: Error) => {
      if (error.name !== 'AbortError') throw error;
    });
    const second = lossesOf(await run('parts', { resume: true }));
    expect([...lossesOf(first), ...second]).toEqual(whole);
  });
});
