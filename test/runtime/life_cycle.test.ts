// How models, buffers, threads and processes end: nothing crashes, nothing hangs, all memory comes back.
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { DisposedError, emptyTensor, loadModel, memory, tensor } from '../../lib/index.js';
import { Reader, randomTokens, rejection, until } from '../engine/driving.js';
import { modelFolder, storyteller } from '../models/fixture_files.js';
import { runEnding, startWorker } from './ending_models.js';

describe('worker threads', () => {
  it('are terminated in mid-run, 30 of them, without harm to the process or its other models', async () => {
    using model = await loadModel(modelFolder('llama'));
    const request = { tokens: randomTokens(20, 256, 1), maxTokens: 30, temperature: 0, ignoreEos: true };
    const expected = await model.complete(request);
    const before = memory();
    const one = async (i: number): Promise<void> => {
      const { worker, reached } = startWorker();
      await reached(i % 5 === 4 ? 'loading' : 'running');
      await sleep(i % 7);
      await worker.terminate();
    };
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < 30) await one(next++);
    };
    const [answer] = await Promise.all([model.complete(request), lane(), lane(), lane()]);
    expect(answer).toEqual(expected);
    expect(await model.complete(request)).toEqual(expected);
    await until(() => memory().bytes === before.bytes && memory().blocks === before.blocks, 'the memory of all workers comes back');
  });
});

describe('a process', () => {
  const run = (way: string) => runEnding(way, 60_000);

  it.each(['exit', 'exitWhileLoading'])('ends by %s with the code that it gave', async (way) => {
    const ends = await Promise.all([run(way), run(way), run(way)]);
    expect(ends).toEqual(ends.map(() => ({ code: 7, signal: null, output: '', errors: '' })));
  });

  it('ends by an error that nobody catches, and shows it', async () => {
    const { code, signal, errors } = await run('throw');
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(errors).toMatch(/Error: on purpose/);
  });

  it.each(['natural', 'naturalWithAnUnfinishedLoop', 'naturalWithTensors'])('ends by itself: %s', async (way) => {
    expect(await run(way)).toEqual({ code: 0, signal: null, output: 'answered\n', errors: '' });
  });
});

describe('dispose', () => {
  it('ends running and waiting requests with DisposedError and frees all memory', async () => {
    const before = memory();
    // The texts are long enough not to end in one burst before anybody looks.
    const model = await loadModel(storyteller.base, { maxRequests: 2, adapters: { poet: storyteller.adapter('poet') } });
    const reader = new Reader(model.generate({ tokens: [4, 5], maxTokens: 900, ignoreEos: true }));
    await reader.next();
    const others = [
      rejection(model.complete({ tokens: [6], maxTokens: 900, ignoreEos: true, adapter: 'poet' })),
      rejection(model.complete({ tokens: [7], maxTokens: 900, ignoreEos: true })),
      rejection(model.score({ tokens: randomTokens(200, 256, 1) })),
    ];
    await until(() => model.stats().waitingRequests + model.stats().runningRequests >= 3, 'requests run and wait');
    model.dispose();
    for (const error of [await rejection(reader.rest()), ...(await Promise.all(others))]) {
      expect(error).toBeInstanceOf(DisposedError);
      expect(error.message).toBe('base was disposed while a request ran');
    }
    await until(() => memory().bytes === before.bytes && memory().blocks === before.blocks, 'all memory comes back');
  });

  it('comes at any moment of a request', async () => {
    const before = memory();
    for (let turns = 0; turns < 24; turns++) {
      const model = await loadModel(modelFolder('llama'));
      const answers = [
        model.complete({ tokens: randomTokens(60, 256, turns), maxTokens: 100, ignoreEos: true }),
        model.score({ tokens: [3, 4, 5] }),
      ];
      const ends = answers.map((answer) => answer.catch((error: unknown) => error));
      if (turns < 16) for (let i = 0; i < turns; i++) await Promise.resolve();
      else await sleep(turns - 16);
      model.dispose();
      for (const end of await Promise.all(ends)) if (end instanceof Error) expect(end).toBeInstanceOf(DisposedError);
    }
    await until(() => memory().bytes === before.bytes && memory().blocks === before.blocks, 'all memory comes back');
  });

  it('and load, many times over, leave native memory where it was', async () => {
    const before = memory();
    for (let round = 0; round < 12; round++) {
      using model = await loadModel(modelFolder('qwen2'));
      await model.complete({ tokens: [3, 4], maxTokens: 4, ignoreEos: true });
      await model.score({ tokens: [3, 4, 5] });
    }
    await until(() => memory().bytes === before.bytes && memory().blocks === before.blocks, 'all memory comes back');
  });

  it('of a buffer is safe twice, and while its bytes are being read', async () => {
    const { buffer } = tensor('f32', [4], Float32Array.of(1, 2, 3, 4));
    const reading = buffer.read(4, 8);
    buffer.dispose();
    buffer.dispose();
    expect(new Float32Array(await reading)).toEqual(Float32Array.of(2, 3));
    expect(buffer.disposed).toBe(true);
    await expect(buffer.read(0, 4)).rejects.toThrow(/used after dispose/);
  });
});

it('memory of tensors that nobody holds is freed by the garbage collector', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const before = memory();
  (() => {
    for (let i = 0; i < 64; i++) emptyTensor('u8', [1 << 20]);
  })();
  expect(memory().bytes - before.bytes).toBeGreaterThan(0);
  await until(() => {
    collect();
    return memory().bytes <= before.bytes;
  }, 'the tensors are collected');
});

describe('the event loop', () => {
  /** The longest that a timer of 5 ms was kept waiting while `work` ran. */
  async function longestWait(work: () => Promise<void>): Promise<number> {
    let last = performance.now();
    let longest = 0;
    const timer = setInterval(() => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }, 5);
    try {
      await work();
      await sleep(6);
    } finally {
      clearInterval(timer);
    }
    return longest;
  }

  // A busy machine may keep the whole process from its cores: then another try tells.
  it('stays free while models load and answer', { retry: 4 }, async () => {
    const waited = await longestWait(async () => {
      using model = await loadModel(storyteller.base, {
        adapters: { poet: storyteller.adapter('poet'), cynic: storyteller.adapter('cynic') },
      });
      const requests = Array.from({ length: 8 }, (_, i) => ({
        tokens: randomTokens(200, 2048, i),
        maxTokens: 60,
        ignoreEos: true,
        ...(i % 2 === 0 && { adapter: 'poet' }),
      }));
      await Promise.all([
        model.generateBatch(requests),
        model.complete({ prompt: 'It was', maxTokens: 20 }),
        model.score({ tokens: randomTokens(900, 2048, 1) }),
      ]);
    });
    expect(waited).toBeLessThan(150);
  });
});
