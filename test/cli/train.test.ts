// `heddle train`: what people and machines see, and every wrong usage.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TrainDisplay } from '../../lib/cli/train_display.js';
import type { StepEvent, TrainEvent } from '../../lib/train/events.js';
import { startTraining } from '../train/run_training.ts';
import { base, heddle, jsonLines } from './run_cli.ts';
import { Screen } from './screen.ts';

const folder = mkdtempSync(join(tmpdir(), 'heddle-train-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const data = write('counting.txt', Array.from({ length: 80 }, (_, i) => `${i} comes before ${i + 1}.\n`).join(''));
const train = ['train', '--model', base, '--output', join(folder, 'unused')];

describe('wrong usage of heddle train', () => {
  const cases: [name: string, words: string[], message: RegExp][] = [
    ['an unknown option', ['train', '--modle', 'x'], /unknown option '--modle' \(Did you mean --model\?\)/],
    ['no model', ['train', '--data', data, '--output', 'o'], /^heddle train: --model is missing\. See/],
    ['no output', ['train', '--data', data, '--model', base], /--output is missing/],
    ['no data', train, /give --data, --adapter or --config/],
    ['data and adapters', [...train, '--data', data, '--adapter', `a=${data}`], /only one of --data and --adapter/],
    ['an adapter without a file', [...train, '--adapter', 'poet'], /'poet' is invalid\. Expected NAME=FILE\./],
    ['a rank of nothing', [...train, '--data', data, '--rank', '0'], /'0' is invalid\. Expected a whole number, 1 or more\./],
    ['a schedule that does not exist', [...train, '--data', data, '--schedule', 'sine'], /Allowed choices are constant, linear, cosine/],
    ['a share of everything', [...train, '--data', data, '--evaluation', '1.5'], /Expected a share above 0 and below 1, or a file/],
    ['samples and none', [...train, '--data', data, '--sample', 'x', '--no-samples'], /only one of --sample and --no-samples/],
  ];
  it.each(cases)('%s: exit code 2 and one line', async (_, words, message) => {
    const { code, stdout, stderr } = await heddle(words);
    expect(stderr).toMatch(message);
    expect(stderr.trim()).not.toContain('\n');
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('that a file has: exit code 1 and what was meant', async () => {
    const faults: [string, RegExp][] = [
      ['{"model": "m", "output": "o", "data": "x", "learningrat": 1}', /train has no option 'learningrat': did you mean 'learningRate'\?/],
      ['{"model": "m", "output": "o", "data": "x", "adapters": {"a": {"rank": "8"}}}', /train\.adapters\.a\.rank is "8"/],
      ['{"model": "m",', /config\.json: line 1, column \d+: not valid JSON/],
      ['[1]', /config\.json: expected a JSON object/],
    ];
    for (const [content, message] of faults) {
      const { code, stderr } = await heddle(['train', '--config', write('config.json', content)]);
      expect(stderr).toMatch(message);
      expect(stderr).toMatch(/^heddle: [^\n]*\n$/);
      expect(code).toBe(1);
    }
  });

  it('an output that is a file', async () => {
    const { code, stderr } = await heddle(['train', '-m', base, '-d', data, '-o', data]);
    expect(stderr).toBe(`heddle: the output ${data} is a file: expected a folder\n`);
    expect(code).toBe(1);
  });

  it('a name that no record holds', async () => {
    for (const [words, message] of [
      [['-a', `__proto__=${data}`], "train.adapters has the key '__proto__': expected another name"],
      [['-d', data, '--name', '__proto__'], "train.name is '__proto__': expected another name"],
    ] as const) {
      const { code, stderr } = await heddle([...train, ...words]);
      expect(stderr).toBe(`heddle: ${message}\n`);
      expect(code).toBe(1);
    }
  });

  it('is helped', async () => {
    const { code, stdout } = await heddle(['train', '--help']);
    for (const text of ['--resume', '--config', '--adapter <name=file>', 'report.html', 'Ctrl-C', 'Examples:'])
      expect(stdout).toContain(text);
    expect(code).toBe(0);
  });

  it('ends before anything is written where the model is missing', async () => {
    const { code, stdout, stderr } = await heddle(['train', '-m', './nowhere', '-d', data, '-o', join(folder, 'no'), '--json']);
    expect(stderr).toMatch(/nowhere/);
    expect(existsSync(join(folder, 'no'))).toBe(false);
    expect(jsonLines(stdout).at(-1)).toMatchObject({ error: { code: expect.stringMatching(/^ERR_HEDDLE_/) } });
    expect(code).toBe(1);
  });
});

it('heddle train --print-schema prints what docs/train.schema.json holds', async () => {
  const { code, stdout } = await heddle(['train', '--print-schema']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/train.schema.json'), 'utf8')));
});

describe('a training', () => {
  it('from a file and the command line, which goes first', async () => {
    const output = join(folder, 'from file');
    const options = { model: 'bigram', output, rank: 4, steps: 3, data: { files: data, maxLength: 32, batchSize: 2 }, samples: false };
    const config = write('training.json', JSON.stringify({ $schema: 'docs/train.schema.json', ...options }));
    const { events, ended } = startTraining(['--config', config, '--rank', '2', '--batch-size', '3', '--name', 'counter', '--json']);
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
    const types = ['data', 'plan', 'step', 'step', 'step', 'checkpoint', 'end'];
    expect(events.map(({ type }) => type)).toEqual(types);
    const plan = events.find((event) => event.type === 'plan');
    expect(plan).toMatchObject({ totalSteps: 3, adapters: { counter: { parameters: 2 * (32 + 257) } } });
    expect(events.at(-1)).toMatchObject({ type: 'end', step: 3, adapters: { counter: { folder: output } } });
  });

  it('of two adapters is told to people', async () => {
    const output = join(folder, 'for people');
    const bad = write('bad.jsonl', '{"text": "a line of text"}\n{"txt": "not one"}\n{"text": "another line"}\n');
    const words = ['--model', 'bigram', '--adapter', `counter=${data}`, '--adapter', `other=${bad}`, '--output', output];
    const { ended } = startTraining([...words, '--steps', '4', '--evaluation', '0.3', '--max-length', '32', '--max-bad-lines', '1']);
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^counter: \d+ examples, [\d,]+ tokens, [\d,]+ of them learned; held out: \d+ examples\n/);
    expect(stdout).toMatch(/memory planned: [\d.]+ [kM]B \(weights .*, optimiser .*\)/);
    expect(stdout).toMatch(/step 0: held-out counter loss \d\.\d+, perplexity [\d.]+; other loss/);
    expect(stdout).toMatch(/4 steps in 1 s, [\d,]+ tokens\/s; memory [\d.]+ [kM]B \(planned/);
    expect(stdout).toContain(`counter: loss `);
    expect(stdout).toContain(join(output, 'adapters', 'other'));
    expect(stdout).toContain(`report: ${join(output, 'report.html')}`);
    expect(stderr).toMatch(/bad\.jsonl:2: the line has the fields txt: expected text.*Did you mean 'text'\? \(skipped\)/);
    expect(stderr).toMatch(/training {2}4 of 4 {2}counter [\d.]+ {2}other [\d.]+ {2}[\d,]+ tokens\/s {2}peak/);
    expect(existsSync(join(output, 'adapters', 'counter', 'adapter_model.safetensors'))).toBe(true);
  });
});

describe('the display on a terminal', () => {
  const step = (number: number): StepEvent => ({
    ...{
      type: 'step',
      step: number,
      totalSteps: 200,
      seconds: 60,
      tokens: 1e5,
      tokensPerSecond: 1234,
      secondsLeft: 125,
      peakBytes: 1.24e9,
    },
    adapters: { poet: { loss: 2.3456, rate: 1e-4, gradientNorm: 1, tokens: 512, targets: 500, epoch: 0 } },
  });
  const plan: TrainEvent = {
    ...{ type: 'plan', step: 0, time: '2026-11-28T01:02:03.000Z', model: 'storyteller', device: 'cpu', totalSteps: 200 },
    planned: { weights: 1e9, parameters: 1e6, optimiser: 2e6, arena: 2e8, workspace: 1e6, total: 1.204e9 },
    adapters: { poet: { parameters: 12_345, steps: 200, stepsPerEpoch: 100 } },
  };

  it('has loss, tokens per second, time left and memory beside the bar, below the lines that stay', () => {
    const out = new Screen(160);
    let time = 0;
    using display = new TrainDisplay(out, out, () => time);
    display.show(plan);
    time = 1000;
    display.show(step(100));
    expect(out.lines.filter((line) => line !== '')).toEqual([
      'memory planned: 1.2 GB (weights 1.0 GB, parameters 1.0 MB, optimiser 2.0 MB, arena 200 MB, workspace 1.0 MB)',
      'poet: 12,345 parameters over storyteller, 200 steps (2 epochs)',
      `training  ${'█'.repeat(12)}${'░'.repeat(12)}  50 %  100 of 200  loss 2.346  1,234 tokens/s  2 min 05 s left  peak 1.2 GB`,
    ]);
    display.show({ type: 'evaluation', step: 100, adapters: { poet: { loss: 2, perplexity: Math.exp(2), targets: 9 } } });
    const lines = out.lines.filter((line) => line !== '');
    expect(lines[2]).toBe('step 100: held-out loss 2.0000, perplexity 7.389');
    expect(lines[3]).toMatch(/^training /);
  });

  it('stays in one line on a narrow one, and steers nothing by texts of a model', () => {
    const out = new Screen(60);
    using display = new TrainDisplay(out, out);
    display.show(plan);
    display.show(step(100));
    expect(out.lines.filter((line) => line.startsWith('training'))).toHaveLength(1);
    display.show({ type: 'sample', step: 200, adapter: 'poet', prompt: 'O', text: ' captain\u001b[2J' });
    expect(out.text).toContain('O│ captain[2J');
  });
});
