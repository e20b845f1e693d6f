// How models on a CUDA device end: threads that are terminated and processes that exit in mid-run do not crash.
import './long_runs.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { loadModel, memory } from '../../lib/index.js';
import { randomTokens, rejection, until } from '../engine/driving.js';
import { testedCuda } from '../kernels/test_devices.js';
import { modelFolder } from '../models/fixture_files.js';
import { runEnding, startWorker } from '../runtime/ending_models.js';

const device = testedCuda?.name ?? 'cuda';
// Emulated steps take long.
const timeout = 600_000;
const env = { ...process.env, HEDDLE_DEVICE: device };
const held = (): { bytes: number; blocks: number } => {
  const { bytes = 0, blocks = 0 } = memory().devices[0] ?? {};
  return { bytes, blocks };
};

describe.skipIf(testedCuda === undefined)('worker threads on a CUDA device', { timeout }, () => {
  it('are terminated in mid-run without harm to the process or its other models', async () => {
    // A prompt that is found in the cache is cut otherwise, which may change last bits here.
    using model = await loadModel(modelFolder('llama'), { device, prefixCache: false });
    const request = { tokens: randomTokens(20, 256, 1), maxTokens: 20, temperature: 0, ignoreEos: true };
    const expected = await model.complete(request);
    const before = held();
    const one = async (i: number): Promise<void> => {
      const { worker, reached } = startWorker(env);
      await reached(i % 3 === 2 ? 'loading' : 'running');
      await sleep(i % 7);
      await worker.terminate();
    };
    for (let i = 0; i < 6; i += 2) await Promise.all([one(i), one(i + 1)]);
    expect(await model.complete(request)).toEqual(expected);
    await until(() => held().bytes === before.bytes && held().blocks === before.blocks, 'the memory of all workers comes back');
  });
});

describe.skipIf(testedCuda === undefined)('a process with a model on a CUDA device', { timeout }, () => {
  const run = (way: string) => runEnding(way, 300_000, env);

  it.each(['exit', 'exitWhileLoading'])('ends by %s with the code that it gave', async (way) => {
    expect(await run(way)).toEqual({ code: 7, signal: null, output: '', errors: '' });
  });

  it.each(['natural', 'naturalWithAnUnfinishedLoop'])('ends by %s when there is nothing left to do', async (way) => {
    expect(await run(way)).toEqual({ code: 0, signal: null, output: 'answered\n', errors: '' });
  });
});

describe.skipIf(testedCuda === undefined)('dispose', { timeout }, () => {
  it('in mid-run rejects every request and gives the memory back when the step has ended', async () => {
    const before = held();
    const model = await loadModel(modelFolder('llama'), { device, maxRequests: 2 });
    const requests = [1, 2, 3].map((i) => model.complete({ tokens: [i, 5, 9], maxTokens: 200, ignoreEos: true }));
    const ends = Promise.all(requests.map(rejection));
    await until(() => model.stats().steps > 3, 'some steps ran');
    model.dispose();
    for (const error of await ends) expect(error).toMatchObject({ code: 'ERR_HEDDLE_DISPOSED' });
    await until(() => held().bytes <= before.bytes && held().blocks <= before.blocks, 'the memory comes back');
  });
});
