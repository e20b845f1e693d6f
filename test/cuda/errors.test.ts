// What stands in the way of a CUDA device, each once: the code, the fall back of 'auto', and nothing left behind.
import './long_runs.js';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { adapterFolder, modelFolder } from '../models/fixture_files.js';
import { runScript } from '../runtime/run_script.js';
import { emulated } from './emulated_device.js';

const llama = modelFolder('llama');
const scratch = mkdtempSync(join(tmpdir(), 'heddle-cuda-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

type Printed = Record<string, unknown>;

/** What the process printed; fails where it ended in any way but its own, or said more. */
async function run(words: readonly string[], environment: Record<string, string>): Promise<Printed> {
  const { HEDDLE_DEVICE: _, ...inherited } = process.env;
  const script = new URL('cuda_process.mjs', import.meta.url);
  const { code, signal, output, errors } = await runScript(script, words, { ...inherited, ...environment }, 300_000);
  if (code === 0 && errors === '') return JSON.parse(output) as Printed;
  throw new Error(`ended with ${code ?? signal}: ${errors}${output}`);
}

const missing = { HEDDLE_CUDA_LIBRARY: join(scratch, 'libheddle_cuda.so') };
const text = join(scratch, 'no_library.so');
writeFileSync(text, 'not a library');

const obstacles: [string, Record<string, string>, string, RegExp][] = [
  ['no library', missing, 'ERR_HEDDLE_CUDA_LIBRARY', /no CUDA library: .*libheddle_cuda\.so is not there/],
  ['a file that is no library', { HEDDLE_CUDA_LIBRARY: text }, 'ERR_HEDDLE_CUDA_LIBRARY', /does not load/],
];
const faults: typeof obstacles = [
  ['no driver', { HEDDLE_EMULATOR_FAULT: 'no-driver' }, 'ERR_HEDDLE_CUDA_DRIVER', /no NVIDIA driver: .*580/],
  ['an old driver', { HEDDLE_EMULATOR_FAULT: 'old-driver' }, 'ERR_HEDDLE_CUDA_DRIVER_TOO_OLD', /too old: .*580/],
  ['no device', { HEDDLE_EMULATOR_FAULT: 'no-device' }, 'ERR_HEDDLE_CUDA_NO_DEVICE', /no CUDA device/],
];

async function checkObstacle(environment: Record<string, string>, code: string, message: RegExp): Promise<void> {
  const { auto, cuda } = (await run(['open'], environment)) as { auto: Printed; cuda: Printed };
  expect(auto).toEqual({ name: 'cpu', reason: expect.stringMatching(message) });
  expect(cuda).toEqual({ name: 'DeviceError', code, message: auto.reason, device: 'cuda' });
  const loaded = (await run(['load', llama], environment)) as { auto: Printed; cuda: Printed; after: { bytes: number } };
  expect(loaded.auto).toMatchObject({
    device: { name: 'cpu', reason: auto.reason },
    made: [expect.any(Number), ...[0, 0].map(() => expect.any(Number))],
  });
  expect(loaded.cuda).toMatchObject({ name: 'DeviceError', code });
  expect(loaded.after.bytes).toBe(0);
  const output = join(scratch, 'trained');
  expect(await run(['train', llama, text, output], environment)).toMatchObject({ name: 'DeviceError', code });
}

describe('where there is', () => {
  it.each(obstacles)("%s, 'auto' takes the processor and 'cuda' says why not", (_, ...obstacle) => checkObstacle(...obstacle));
});

describe.skipIf(!emulated)('where there is', { timeout: 600_000 }, () => {
  it.each(faults)("%s, 'auto' takes the processor and 'cuda' says why not", (_, ...obstacle) => checkObstacle(...obstacle));

  it('only an emulated device, it is taken by its name alone', async () => {
    const { auto, cuda } = await run(['open'], {});
    expect(auto).toEqual({ name: 'cpu', reason: expect.stringContaining('emulated') });
    expect(cuda).toEqual({ name: 'cuda', ordinal: 0 });
  });

  it('a device that is no emulated one, it is taken', async () => {
    const { auto } = await run(['open'], { HEDDLE_EMULATOR_AS_REAL: '1' });
    expect(auto).toEqual({ name: 'cuda', ordinal: 0 });
  });

  it.each([0, 1, 2, 8, 40])("too little memory (%i MiB), 'auto' takes the processor and nothing is left half-loaded", async (megabytes) => {
    const fault = { HEDDLE_EMULATOR_FAULT: `out-of-memory:${megabytes * 2 ** 20}`, HEDDLE_EMULATOR_AS_REAL: '1' };
    const { auto, between, cuda, after } = (await run(['load', llama], fault)) as Record<string, Printed>;
    expect(auto).toMatchObject({ device: { name: 'cpu', reason: expect.stringMatching(/CUDA device 0 .*cannot allocate/) } });
    expect(cuda).toMatchObject({
      name: 'PoolExhaustedError',
      code: 'ERR_HEDDLE_POOL_EXHAUSTED',
      message: expect.stringMatching(/cannot allocate/),
    });
    for (const now of [between, after])
      expect(now).toEqual({ bytes: 0, devices: ((now as Printed).devices as unknown[]).map(() => ({ bytes: 0, blocks: 0 })) });
  });

  it.each([0, 1, 30, 150, 400])(
    'a device that is lost after %i launches, every request gets its error and the process goes on',
    async (launches) => {
      const result = await run(['lose', llama, adapterFolder('lora')], { HEDDLE_EMULATOR_FAULT: `lost:${launches}` });
      const lost = { name: 'DeviceError', code: 'ERR_HEDDLE_DEVICE_LOST', device: 'cuda' };
      const answers = result.answers as Printed[];
      expect(answers).toHaveLength(6);
      // The scored text may have had its answer before.
      for (const answer of answers.slice(0, 5)) expect(answer).toMatchObject(lost);
      expect(answers[5]).toMatchObject('count' in (answers[5] as Printed) ? { count: 4 } : lost);
      const later = result.later as Record<string, Printed>;
      for (const what of ['request', 'adapter', 'load', 'tensor']) expect(later[what], what).toMatchObject(lost);
      expect(result).toMatchObject({ runningRequests: 0, waitingRequests: 0, made: 3, after: [{ bytes: 0, blocks: 0 }] });
    },
  );

  it('a device that is lost between two runs of a program, later runs are refused', async () => {
    const { runs, after } = await run(['loseProgram'], { HEDDLE_EMULATOR_FAULT: 'lost:2' });
    const lost = { code: 'ERR_HEDDLE_DEVICE_LOST' };
    expect(runs).toMatchObject([[2, 4, 6], [2, 4, 6], lost, lost]);
    expect(after).toEqual([{ bytes: 0, blocks: 0 }]);
  });
});
