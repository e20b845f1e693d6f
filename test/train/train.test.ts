// Whole trainings of a small model: they learn, together as alone, and what they tell is true.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { AbortError, OptionError, TrainingError } from '../../lib/errors.js';
import type { TrainEvent } from '../../lib/train/events.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import { runTraining, type TrainControl, type TrainResult } from '../../lib/train/train.js';
import { readLog } from '../../lib/train/training_log.js';
import { failure } from '../checkpoint/failure.ts';
import { type BigramHooks, openBigram } from './bigram_model.ts';
import { dataFolder, jsonLines } from './data_folder.ts';

const folder = dataFolder();
const counting = folder.write('counting.txt', Array.from({ length: 300 }, (_, i) => `${i} is one more than ${i - 1}.\n`).join(''));
const questions = folder.write(
  'questions.jsonl',
  jsonLines(...Array.from({ length: 60 }, (_, i) => ({ prompt: `what is ${i}? `, completion: `${i} of course` }))),
);

let runs = 0;
async function run(
  options: Record<string, unknown>,
  control: TrainControl = {},
  hooks: BigramHooks = {},
): Promise<{ result: TrainResult; events: TrainEvent[]; output: string }> {
  const output = (options.output as string | undefined) ?? join(folder.path, `run ${runs++}`);
  const events: TrainEvent[] = [];
  const settings = parseTrainOptions({ model: 'bigram', learningRate: 0.02, batchTokens: 256, ...options, output });
  const onEvent = (event: TrainEvent): void => {
    events.push(event);
    control.onEvent?.(event);
  };
  return { result: await runTraining(settings, { ...control, onEvent }, openBigram(hooks)), events, output };
}

const of = <T extends TrainEvent['type']>(events: readonly TrainEvent[], type: T) =>
  events.filter((event): event is Extract<TrainEvent, { type: T }> => event.type === type);

async function factors(path: string): Promise<Float32Array> {
  using file = await openSafetensors(join(path, 'adapter_model.safetensors'));
  return Float32Array.from([...new Float32Array(await file.read('lora_A')), ...new Float32Array(await file.read('lora_B'))]);
}

describe('a training', () => {
  it('learns, and tells and keeps what happened', async () => {
    const { result, events, output } = await run({
      data: { files: counting, evaluation: 0.1, maxLength: 32 },
      name: 'counter',
      rank: 8,
      epochs: 3,
      seed: 5,
    });
    const steps = of(events, 'step');
    expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i + 1));
    expect(steps).toHaveLength(result.steps);
    const evaluations = of(events, 'evaluation').map(({ adapters }) => adapters.counter?.loss as number);
    expect(evaluations.at(-1)).toBeLessThan((evaluations[0] as number) * 0.6);
    expect(result.adapters.counter?.perplexity).toBeCloseTo(Math.exp(evaluations.at(-1) as number), 10);
    expect(steps.at(-1)?.tokens).toBe(result.tokens);
    expect(result.tokens).toBe(steps.reduce((sum, { adapters }) => sum + (adapters.counter?.tokens ?? 0), 0));
    expect(readdirSync(output).sort()).toEqual([
      'adapter_model.safetensors',
      `checkpoint-${result.steps}.safetensors`,
      'log.jsonl',
      'report.html',
    ]);
    const logged = await readLog(result.log);
    expect(logged).toEqual(events.filter(({ type }) => ['plan', 'step', 'evaluation', 'sample', 'end'].includes(type)));
    expect(readFileSync(result.log, 'utf8').endsWith('}\n')).toBe(true);
    const [plan] = of(events, 'plan') as [Extract<TrainEvent, { type: 'plan' }>];
    const { total, ...parts } = plan.planned;
    expect(Object.values(parts).reduce((a, b) => a + b)).toBe(total);
    // Two moments, as long as the parameters: the optimiser's own memory is at least that.
    expect(parts.optimiser).toBeGreaterThanOrEqual(2 * 4 * 8 * (32 + 257));
    expect(result.plannedBytes).toBe(total);
    expect(Math.abs(result.peakBytes / total - 1)).toBeLessThan(0.05);
    expect(of(events, 'sample').map(({ adapter }) => adapter)).toEqual([null, 'counter', null, 'counter', null, 'counter']);
  });

  it('with the same seed has the same bits, with another one others', async () => {
    const options = { data: counting, steps: 6, samples: false };
    const first = await run({ ...options, seed: 1 });
    const again = await run({ ...options, seed: 1 });
    const other = await run({ ...options, seed: 2 });
    expect(await factors(again.output)).toEqual(await factors(first.output));
    expect(await factors(other.output)).not.toEqual(await factors(first.output));
  });

  it('of several adapters makes of each what it becomes alone', async () => {
    const a = { data: { files: counting, tokensPerBatch: 128, maxLength: 48 }, rank: 8, steps: 12 };
    const b = { data: { files: questions, tokensPerBatch: 96, batchSize: 3 }, rank: 3, steps: 7, learningRate: 0.005, optimiser: 'sgd' };
    const both = await run({ adapters: { a, b }, samples: false });
    expect(Object.keys(both.result.adapters)).toEqual(['a', 'b']);
    expect(both.result.steps).toBe(12);
    for (const [name, own] of Object.entries({ a, b })) {
      const alone = await run({ ...own, name, samples: false });
      expect(await factors(join(both.output, 'adapters', name))).toEqual(await factors(alone.output));
    }
    const last = of(both.events, 'step').at(-1);
    expect(Object.keys(last?.adapters ?? {})).toEqual(['a']);
  });

  it('gives completions their loss alone, and accumulation the sum of batches', async () => {
    const { events } = await run({ data: { files: questions, batchSize: 5 }, steps: 2, accumulation: 4, samples: false, name: 'q' });
    const numbers = of(events, 'step')[0]?.adapters.q;
    expect(numbers?.targets).toBeLessThan((numbers?.tokens ?? 0) / 1.5);
    const parts = await run({ data: { files: questions, batchSize: 20 }, steps: 2, samples: false, name: 'q' });
    expect(of(parts.events, 'step').map(({ adapters }) => adapters.q?.loss)).toEqual(
      of(events, 'step').map(({ adapters }) => adapters.q?.loss),
    );
  });

  it('warms up, and ends at the floor of its schedule', async () => {
    const { events } = await run({
      data: counting,
      steps: 10,
      samples: false,
      name: 'c',
      learningRate: 0.01,
      schedule: { kind: 'linear', warmup: 3, floor: 0.1 },
    });
    const rates = of(events, 'step').map(({ adapters }) => adapters.c?.rate as number);
    expect(rates.slice(0, 4)).toEqual([0.0025, 0.005, 0.0075, 0.01]);
    expect(rates[9]).toBeCloseTo(0.01 * (0.1 + (0.9 * 1) / 7), 12);
  });

  it('stops where a loss is no number, and keeps its last checkpoint', async () => {
    const output = join(folder.path, 'diverging');
    const hooks = { onAccumulate: ({ step }: { step: number }) => (step === 5 ? Number.NaN : 0) };
    const error = await failure(run({ data: counting, output, steps: 9, saveEvery: 2, name: 'wild', samples: false }, {}, hooks));
    expect(error).toBeInstanceOf(TrainingError);
    expect(error.message).toMatch(/^'wild' has diverged in step 6: its loss is NaN\..*the checkpoint of step 4 is whole$/);
    expect(readdirSync(output)).toContain('checkpoint-4.safetensors');
    const { result } = await run({ data: counting, output, steps: 9, saveEvery: 2, name: 'wild', samples: false }, { resume: true });
    expect(result.steps).toBe(9);
  });
});

describe('going on', () => {
  const options = {
    data: { files: counting, evaluation: 0.1, maxLength: 32 },
    steps: 14,
    saveEvery: 3,
    evaluateEvery: 4,
    name: 'c',
    samples: false,
  };

  it('after an interruption ends with the same bits, losses and log', async () => {
    const whole = await run(options);
    const output = join(folder.path, 'interrupted');
    const stop = new AbortController();
    const control = { signal: stop.signal, onEvent: (event: TrainEvent) => event.type === 'step' && event.step === 7 && stop.abort() };
    const error = await failure(run({ ...options, output }, control));
    expect(error).toBeInstanceOf(AbortError);
    expect(error.message).toContain('interrupted after step 7 of 14, which is saved: --resume');
    expect(readdirSync(output).filter((name) => name.startsWith('checkpoint'))).toEqual(['checkpoint-7.safetensors']);
    const rest = await run({ ...options, output }, { resume: true });
    expect(of(rest.events, 'resume')[0]?.step).toBe(7);
    expect(await factors(output)).toEqual(await factors(whole.output));
    const losses = async (log: string) =>
      (await readLog(log)).flatMap((event) =>
        event.type === 'step' || event.type === 'evaluation' ? [`${event.type} ${event.step} ${event.adapters.c?.loss}`] : [],
      );
    expect(await losses(rest.result.log)).toEqual(await losses(whole.result.log));
    expect(rest.result.tokens).toBe(whole.result.tokens);
  });

  it('refuses another configuration and says what differs', async () => {
    const output = join(folder.path, 'configured');
    await run({ ...options, output, steps: 3 });
    const changed = [
      [{ rank: 4 }, /rank is 4, there 16.*alpha is 8, there 32/],
      [{ steps: 5 }, /steps is 5, there 3/],
      [{ data: { ...options.data, batchSize: 2 } }, /data\.batchSize is 2, there 8/],
      [{ data: { ...options.data, files: questions } }, /data\.content is "[0-9a-f]+/],
      [{ seed: 9 }, /seed is 9, there 0/],
    ] as const;
    for (const [change, message] of changed) {
      const error = await failure(run({ ...options, output, steps: 3, ...change }, { resume: true }));
      expect(error).toBeInstanceOf(TrainingError);
      expect(error.message).toMatch(message);
    }
    const other = await failure(run({ ...options, output, steps: 3 }, { resume: true }, { fingerprint: 'another' }));
    expect(other.message).toContain('base is "another", there "bigram"');
    // What changes no number may change.
    const { events } = await run({ ...options, output, steps: 3, saveEvery: 1, threads: 1 }, { resume: true });
    expect(of(events, 'step')).toEqual([]);
  });

  it('is asked for: a training is not written over', async () => {
    const output = join(folder.path, 'taken');
    await run({ ...options, output, steps: 2 });
    const error = await failure(run({ ...options, output, steps: 2 }));
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toMatch(/taken holds a training that has come to step 2: resume it/);
  });

  it.each(['adapter_model.safetensors', 'adapter_config.json', 'log.jsonl'])("leaves somebody else's %s alone", async (name) => {
    const output = join(folder.path, `others ${name}`);
    mkdirSync(output);
    writeFileSync(join(output, name), '{"mine": true}\n');
    for (const resume of [false, true]) {
      const error = await failure(run({ ...options, output, steps: 2 }, { resume }));
      expect(error).toBeInstanceOf(OptionError);
      expect(error.message).toContain(`has ${name}, which is of no training that can be resumed`);
    }
    expect(readFileSync(join(output, name), 'utf8')).toBe('{"mine": true}\n');
  });

  it('begins where there is nothing to go on with', async () => {
    const output = join(folder.path, 'nothing yet');
    mkdirSync(output);
    const { events, result } = await run({ ...options, output, steps: 2 }, { resume: true });
    expect(of(events, 'resume')).toEqual([{ type: 'resume', step: 0, file: null }]);
    expect(result.steps).toBe(2);
  });
});
