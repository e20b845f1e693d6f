// Whatever ends a training, what was done is still there: killed processes, Ctrl-C, full disks.
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FileAccessError } from '../../lib/errors.js';
import type { TrainEvent } from '../../lib/train/events.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import { runTraining } from '../../lib/train/train.js';
import { Checkpoint, listCheckpoints } from '../../lib/train/training_checkpoint.js';
import { readLog } from '../../lib/train/training_log.js';
import { failure } from '../checkpoint/failure.ts';
import { random } from '../text/random.js';
import { openBigram } from './bigram_model.ts';
import { dataFolder } from './data_folder.ts';
import { startTraining } from './run_training.ts';

const full = vi.hoisted(() => ({ after: Number.POSITIVE_INFINITY }));
// The file system of this process is full once `full.after` bytes are written.
vi.mock('../../lib/checkpoint/whole_file.js', async (original) => {
  const real = await original<typeof import('../../lib/checkpoint/whole_file.js')>();
  const writeAll: typeof real.writeAll = async (file, bytes, signal) => {
    const room = Math.min(bytes.length, full.after);
    full.after -= room;
    await real.writeAll(file, bytes.subarray(0, room), signal);
    if (room < bytes.length) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', errno: -28 });
  };
  const writeWholeFile: typeof real.writeWholeFile = (path, fill) => real.writeWholeFile(path, fill);
  return { ...real, writeAll, writeWholeFile };
});
afterEach(() => {
  full.after = Number.POSITIVE_INFINITY;
});

const folder = dataFolder();
const data = folder.write('counting.txt', Array.from({ length: 200 }, (_, i) => `${i} comes before ${i + 1}.\n`).join(''));
const steps = 150;
const words = (output: string, ...more: string[]): string[] => [
  ...['--model', 'bigram', '--data', data, '--output', output, '--learning-rate', '0.02', '--steps', String(steps), '--max-length', '32'],
  ...['--evaluation', '0.1', '--evaluate-every', '7', '--save-every', '2', '--no-samples', '--json', ...more],
];
const checkpointBytes = (output: string): Buffer => readFileSync(join(output, `checkpoint-${steps}.safetensors`));

// Everything that a log says but times and memory.
async function numbers(output: string): Promise<unknown[]> {
  return (await readLog(join(output, 'log.jsonl'))).flatMap((event): unknown[] => {
    if (event.type === 'step') return [[event.step, event.tokens, event.adapters]];
    return event.type === 'evaluation' ? [[event.step, event.adapters]] : [];
  });
}

async function tensorsOf(output: string): Promise<Buffer> {
  const bytes = checkpointBytes(output);
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
}

describe('SIGKILL', () => {
  it('at ten random moments, each time gone on from, changes no bit', async () => {
    const whole = join(folder.path, 'whole');
    expect(await startTraining(words(whole)).ended).toMatchObject({ code: 0, stderr: '' });
    const output = join(folder.path, 'killed');
    const next = random(20_261_128);
    const moments: number[] = [];
    let kills = 0;
    let last = 0;
    // A few steps further each time, then at any microsecond: in a step, an evaluation, a checkpoint, the log.
    while (kills < 10) {
      const waits = 1 + (next() % 4);
      const pause = (next() % 1000) / 40;
      let seen = 0;
      const onEvent = (event: TrainEvent, child: { kill(signal: 'SIGKILL'): unknown }): void => {
        if (event.type === 'step') last = event.step;
        if (event.type === 'step' && ++seen === waits) void delay(pause).then(() => child.kill('SIGKILL'));
      };
      const { ended } = startTraining(words(output, '--resume'), { delay: 2, onEvent });
      const { signal } = await ended;
      expect(signal).toBe('SIGKILL');
      moments.push(last);
      kills++;
    }
    expect(new Set(moments).size).toBeGreaterThan(4);
    expect(await startTraining(words(output, '--resume')).ended).toMatchObject({ code: 0, stderr: '' });
    expect(await tensorsOf(output)).toEqual(await tensorsOf(whole));
    expect(readFileSync(join(output, 'adapter_model.safetensors'))).toEqual(readFileSync(join(whole, 'adapter_model.safetensors')));
    expect(await numbers(output)).toEqual(await numbers(whole));
    expect(readdirSync(output).sort()).toEqual(readdirSync(whole).sort());
    // Twelve processes, on a machine that may be busy.
  }, 400_000);

  it('leaves a log that is cut back to whole lines of the steps that are kept', async () => {
    const output = join(folder.path, 'torn');
    const stop = (event: TrainEvent, child: { kill(signal: 'SIGKILL'): unknown }): void => {
      if (event.type === 'step' && event.step === 5) child.kill('SIGKILL');
    };
    await startTraining(words(output), { delay: 5, onEvent: stop }).ended;
    appendFileSync(join(output, 'log.jsonl'), '{"type":"step","step":6,"loss');
    for (const name of ['checkpoint-6.safetensors', 'report.html', 'adapter_model.safetensors', 'adapter_config.json'])
      writeFileSync(join(output, `.${name}.0123456789ab.tmp`), 'half a fi');
    writeFileSync(join(output, '.mine.0123456789ab.tmp'), 'of somebody else');
    expect(await startTraining(words(output, '--resume')).ended).toMatchObject({ code: 0 });
    const seen = (await readLog(join(output, 'log.jsonl'))).flatMap((event) => (event.type === 'step' ? [event.step] : []));
    expect(seen).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
    expect(readdirSync(output).filter((name) => name.endsWith('.tmp'))).toEqual(['.mine.0123456789ab.tmp']);
  });
});

describe.each(['SIGINT', 'SIGTERM'] as const)('%s', (signal) => {
  it('finishes the step, saves, says how to go on, and ends with 130', async () => {
    const output = join(folder.path, `interrupted by ${signal}`);
    let asked = 0;
    const onEvent = (event: TrainEvent, child: { kill(by: typeof signal): unknown }): void => {
      if (event.type !== 'step' || event.step !== 9) return;
      asked = event.step;
      child.kill(signal);
    };
    const { events, ended } = startTraining(words(output, '--save-every', '30'), { delay: 20, onEvent });
    const { code, stderr, stdout } = await ended;
    expect(code).toBe(130);
    const step = Math.max(...events.flatMap((event) => (event.type === 'step' ? [event.step] : [])));
    expect(step).toBeGreaterThanOrEqual(asked);
    expect(step).toBeLessThan(asked + 5);
    expect((await listCheckpoints(output)).map((file) => file.step)).toEqual([step]);
    expect(stderr).toContain(`heddle: interrupted after step ${step} of ${steps}, which is saved. Go on with: heddle --model bigram`);
    expect(stderr.trimEnd().endsWith('--resume')).toBe(true);
    expect(stderr.trimEnd()).not.toContain('\n');
    expect(JSON.parse(stdout.trimEnd().split('\n').at(-1) as string)).toMatchObject({ error: { code: 'ABORT_ERR' } });
    // A checkpoint knows nothing of when it was made.
    expect(await startTraining(words(output, '--resume')).ended).toMatchObject({ code: 0 });
    expect(await tensorsOf(output)).toEqual(await tensorsOf(join(folder.path, 'whole')));
  });
});

describe('a full disk', () => {
  const options = (output: string) =>
    parseTrainOptions({ model: 'bigram', data: { files: data, maxLength: 32 }, output, steps: 9, saveEvery: 3, samples: false });

  it('leaves the last checkpoint, and is said', async () => {
    const output = join(folder.path, 'full');
    const onEvent = (event: TrainEvent): void => {
      // The checkpoint after the next does not fit.
      if (event.type === 'checkpoint' && event.step === 3) full.after = 40_000;
    };
    const error = await failure(runTraining(options(output), { onEvent }, openBigram()));
    expect(error).toBeInstanceOf(FileAccessError);
    expect(error.message).toMatch(
      /^cannot write .*checkpoint-6\.safetensors: no space left on the disk; the checkpoint of step 3 is still whole$/,
    );
    expect(readdirSync(output).sort()).toEqual(['checkpoint-3.safetensors', 'log.jsonl', 'report.html']);
    full.after = Number.POSITIVE_INFINITY;
    using checkpoint = await Checkpoint.open(join(output, 'checkpoint-3.safetensors'));
    expect(checkpoint.state.step).toBe(3);
    await runTraining(options(output), { resume: true }, openBigram());
    const whole = join(folder.path, 'not full');
    await runTraining(options(whole), {}, openBigram());
    expect(readFileSync(join(output, 'adapter_model.safetensors'))).toEqual(readFileSync(join(whole, 'adapter_model.safetensors')));
  });

  it('leaves no half line in the log', async () => {
    const output = join(folder.path, 'full log');
    const onEvent = (event: TrainEvent): void => {
      if (event.type === 'step' && event.step === 4) full.after = 30;
    };
    const error = await failure(runTraining(options(output), { onEvent }, openBigram()));
    expect(error.message).toMatch(/cannot write .*log\.jsonl: no space left on the disk/);
    const text = readFileSync(join(output, 'log.jsonl'), 'utf8');
    expect(text.endsWith('}\n')).toBe(true);
    expect((await readLog(join(output, 'log.jsonl'))).at(-1)).toMatchObject({ type: 'step', step: 4 });
  });

  // A real one, where this process may make one.
  const disk = join(folder.path, 'disk');
  mkdirSync(disk);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=120k', 'tmpfs', disk]).status === 0;
  it.skipIf(!mounted)('of a file system of its own', async () => {
    try {
      const output = join(disk, 'out');
      const error = await failure(runTraining({ ...options(output), saveEvery: 1 }, {}, openBigram()));
      expect(error).toBeInstanceOf(FileAccessError);
      expect(error.message).toContain('no space left on the disk');
      const found = await listCheckpoints(output);
      expect(found).toHaveLength(1);
      using checkpoint = await Checkpoint.open(found[0]?.path as string);
      expect(checkpoint.state.step).toBe(found[0]?.step);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});
