// Requests that come, wait, run together, lose their pages, and leave.
import { getEventListeners } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AbortError, loadModel, type Model, PoolExhaustedError } from '../../lib/index.js';
import { modelFolder, storyteller } from '../models/fixture_files.js';
import { Reader, randomTokens, rejection, until, untilIdle } from './driving.js';

let model: Model;
beforeAll(async () => {
  model = await loadModel(storyteller.base, { adapters: { poet: storyteller.adapter('poet') }, maxStepTokens: 16, maxRequests: 16 });
});
afterAll(() => model.dispose());

const greedy = { temperature: 0, ignoreEos: true };
const long = (seed: number) => ({ ...greedy, tokens: randomTokens(4, 2048, seed), maxTokens: 900 });

describe('requests that join and leave between steps', () => {
  afterEach(() => untilIdle(model));

  it('answers a late request while an early one still runs', async () => {
    const early = new Reader(model.generate(long(1)));
    await early.next();
    const before = model.stats();
    const late = await model.complete({ ...greedy, tokens: [5, 6, 7], maxTokens: 5 });
    expect(late.tokens).toHaveLength(5);
    expect(model.stats().runningRequests).toBe(1);
    // Its prompt and five tokens, plus the end of a burst that was under way.
    expect(model.stats().steps - before.steps).toBeLessThan(2 * 64);
    expect(model.stats().maxRequestsInStep).toBeGreaterThanOrEqual(2);
    await early.pieces.return();
  });

  it('lets a long prompt in piece by piece while every step serves the running request', async () => {
    const runner = new Reader(model.generate(long(2)));
    await runner.next();
    let read = true;
    const reading = (async () => {
      while (read && (await runner.next()));
    })();
    const tokensBefore = runner.tokens.length;
    const prompt = new Reader(model.generate({ ...greedy, tokens: randomTokens(600, 2048, 3), maxTokens: 1 }));
    await prompt.next();
    // One token of sixteen in each step belongs to the runner: 600 tokens of prompt take 40 steps.
    expect(runner.tokens.length - tokensBefore).toBeGreaterThanOrEqual(39);
    read = false;
    await reading;
    await runner.pieces.return();
  });

  it('runs no more than maxRequests at once and answers all', async () => {
    using small = await loadModel(modelFolder('llama'), { maxRequests: 3 });
    let most = 0;
    const order: number[] = [];
    const answers = await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const answer = await small.complete({ ...greedy, tokens: [i + 3], maxTokens: 6 });
        most = Math.max(most, small.stats().runningRequests);
        order.push(i);
        return answer;
      }),
    );
    expect(answers.every(({ tokens, finishReason }) => tokens.length === 6 && finishReason === 'length')).toBe(true);
    expect(order).toEqual(Array.from({ length: 10 }, (_, i) => i));
    expect(most).toBeLessThanOrEqual(3);
    expect(small.stats().maxRequestsInStep).toBe(3);
  });

  it('starts a request that comes the moment another ends', async () => {
    for (let i = 0; i < 200; i++) await model.score({ tokens: [3, 4, 5] });
    for (let i = 0; i < 50; i++) await model.complete({ ...greedy, tokens: [3, 4, 5], maxTokens: 1 });
  });
});

describe('a pool that is too small for all at once', () => {
  const pages = 20;
  const load = async (extra = 0): Promise<Model> => {
    const { pageBytes } = model.memory().pool;
    return loadModel(storyteller.base, { poolBytes: (pages + extra) * pageBytes, prefixCache: false });
  };

  it('lets requests wait and preempts some, and all end as they would alone', async () => {
    using small = await load();
    const requests = Array.from({ length: 12 }, (_, i) => ({ ...greedy, tokens: randomTokens(10 + i, 2048, i), maxTokens: 40 + i }));
    let waited = false;
    const answers = await Promise.all(
      requests.map(async (request) => {
        const reader = new Reader(small.generate(request));
        while (await reader.next()) waited ||= small.stats().waitingRequests > 0;
        return reader.tokens;
      }),
    );
    expect(waited).toBe(true);
    expect(small.stats().preemptions).toBeGreaterThan(0);
    expect(small.memory().pool.heldPages).toBe(0);
    const alone = await model.generateBatch(requests);
    expect(answers).toEqual(alone.map(({ tokens }) => tokens));
  });

  it('takes scores and answers together', async () => {
    using small = await load();
    const texts = Array.from({ length: 6 }, (_, i) => randomTokens(100, 2048, 50 + i));
    const [scores, answers] = await Promise.all([
      Promise.all(texts.map((tokens) => small.score({ tokens }))),
      Promise.all(texts.map((tokens) => small.complete({ ...greedy, tokens, maxTokens: 20 }))),
    ]);
    expect(scores).toEqual(await Promise.all(texts.map((tokens) => model.score({ tokens }))));
    expect(answers.map(({ tokens }) => tokens.length)).toEqual(texts.map(() => 20));
    expect(small.memory().pool.heldPages).toBe(0);
  });

  it('refuses at once what can never fit, and says how much it would take', async () => {
    using small = await load();
    const error = await rejection(small.complete({ ...greedy, tokens: randomTokens(300, 2048, 1), maxTokens: 100 }));
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(error.code).toBe('ERR_HEDDLE_POOL_EXHAUSTED');
    expect(error.details).toMatchObject({ needed: 25, pages });
    expect(await rejection(small.score({ tokens: randomTokens(400, 2048, 1) }))).toBeInstanceOf(PoolExhaustedError);
    expect(small.stats().steps).toBe(0);
    expect((await small.complete({ ...greedy, tokens: randomTokens(300, 2048, 1), maxTokens: 20 })).tokens).toHaveLength(20);
  });

  it('ends only the request that adapters leave no room for', async () => {
    using small = await load(20);
    await small.adapters.load('poet', storyteller.adapter('poet'));
    const { heldPages, pages: all } = small.memory().pool;
    const room = (all - heldPages) * 16;
    expect(room).toBeGreaterThan(0);
    const error = await rejection(small.complete({ ...greedy, tokens: randomTokens(room - 8, 2048, 1), maxTokens: 40 }));
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(small.memory().pool.heldPages).toBe(heldPages);
    expect((await small.complete({ ...greedy, tokens: [3, 4], maxTokens: 4, adapter: 'poet' })).tokens).toHaveLength(4);
  });
});

describe('requests that are given up', () => {
  const held = (): number => model.memory().pool.heldPages;
  let atRest: number;
  // Fewer steps than any of these requests would take to its end.
  const endsEarly = async (stepsBefore: number): Promise<void> => {
    await until(() => held() === atRest, 'its pages come back');
    expect(model.stats().steps - stepsBefore).toBeLessThan(500);
  };
  beforeAll(async () => {
    await untilIdle(model);
    atRest = held();
    expect(atRest).toBeGreaterThan(0);
  });
  afterEach(async () => {
    await until(() => held() === atRest && model.stats().runningRequests === 0, 'all pages but the adapter’s come back');
    expect(model.adapters.get('poet').uses).toBe(0);
  });

  it('frees the pages of a loop that is left', async () => {
    let seen = 0;
    const { steps } = model.stats();
    for await (const { tokens } of model.generate({ ...long(4), adapter: 'poet' })) {
      seen += tokens.length;
      expect(held()).toBeGreaterThan(atRest);
      if (seen > 20) break;
    }
    await endsEarly(steps);
  });

  it('frees them too when the loop throws', async () => {
    const loop = async (): Promise<void> => {
      for await (const _ of model.generate({ ...long(5), adapter: 'poet' })) throw new Error('enough');
    };
    const { steps } = model.stats();
    await expect(loop()).rejects.toThrow('enough');
    await endsEarly(steps);
  });

  const stopped = async (promise: Promise<unknown>, reason: unknown): Promise<void> => {
    const error = await rejection(promise);
    expect(error).toBeInstanceOf(AbortError);
    expect({ name: error.name, code: error.code, cause: error.cause }).toEqual({ name: 'AbortError', code: 'ABORT_ERR', cause: reason });
  };

  it('throws at once for a signal that was aborted before', async () => {
    const reason = new Error('no time');
    const signal = AbortSignal.abort(reason);
    const { steps } = model.stats();
    await stopped(model.complete(long(6), { signal }), reason);
    await stopped(model.generate(long(6), { signal }).next(), reason);
    await stopped(model.score({ tokens: [3, 4] }, { signal }), reason);
    expect(model.stats().steps).toBe(steps);
  });

  it('sees a signal that is aborted while the prompt is being read', async () => {
    for (const run of [
      (signal: AbortSignal) => model.complete({ prompt: 'Once', maxTokens: 900 }, { signal }),
      (signal: AbortSignal) => model.score({ text: 'Once upon' }, { signal }),
    ]) {
      const controller = new AbortController();
      const running = run(controller.signal);
      const { steps } = model.stats();
      controller.abort('at once');
      await stopped(running, 'at once');
      expect(model.stats().steps).toBe(steps);
    }
  });

  it('stops within a prompt', async () => {
    const controller = new AbortController();
    const running = model.complete(
      { ...greedy, tokens: randomTokens(900, 2048, 7), maxTokens: 9, adapter: 'poet' },
      { signal: controller.signal },
    );
    const { steps } = model.stats();
    await until(() => model.stats().steps > steps + 1, 'the prompt is on its way');
    controller.abort('prefill');
    await stopped(running, 'prefill');
    expect(model.stats().steps - steps).toBeLessThan(900 / 16);
  });

  it('stops while tokens are drawn, and a score on its way', async () => {
    const controller = new AbortController();
    const reader = new Reader(model.generate({ ...long(8), adapter: 'poet' }, { signal: controller.signal }));
    await reader.next();
    const score = model.score({ tokens: randomTokens(1000, 2048, 9) }, { signal: controller.signal });
    score.catch(() => {});
    await reader.next();
    controller.abort('decode');
    await stopped(reader.rest(), 'decode');
    await stopped(score, 'decode');
    expect(reader.tokens.length).toBeLessThan(900);
  });

  it('stops while waiting', async () => {
    using small = await loadModel(modelFolder('llama'), { maxRequests: 1 });
    // A queue that takes some turns of the event loop.
    const ahead = Array.from({ length: 20 }, () => small.complete({ ...greedy, tokens: [5], maxTokens: 250 }));
    const controller = new AbortController();
    const last = small.complete({ ...greedy, tokens: [6], maxTokens: 250 }, { signal: controller.signal });
    last.catch(() => {});
    await until(() => small.stats().waitingRequests > 0, 'requests wait');
    controller.abort('waiting');
    await stopped(last, 'waiting');
    for (const { tokens } of await Promise.all(ahead)) expect(tokens).toHaveLength(250);
  });

  it('does not hold on to a signal that outlives its requests', async () => {
    const { signal } = new AbortController();
    for (let i = 0; i < 3; i++) await model.score({ tokens: [3, 4, 5] }, { signal });
    await model.complete({ ...greedy, tokens: [3, 4], maxTokens: 2 }, { signal });
    await rejection(model.complete({ tokens: [] }, { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('listens to a signal once, however many requests it ends', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const running = Array.from({ length: 12 }, (_, i) => [
      model.complete({ prompt: 'Once', maxTokens: 900 - i }, { signal }),
      model.score({ text: 'Once upon' }, { signal }),
    ]).flat();
    const ends = Promise.all(running.map((each) => each.catch((error) => error.code)));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await until(() => model.stats().runningRequests > 0, 'requests run');
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    controller.abort();
    expect(await ends).toContain('ABORT_ERR');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('ends the rest of a batch when one of it fails', async () => {
    const error = await rejection(model.generateBatch([long(10), { ...long(11), adapter: 'nobody' }, long(12)]));
    expect(error.code).toBe('ERR_HEDDLE_MISSING_ADAPTER');
  });

  it('answers a batch in the order of its requests, with one signal for all', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error): number => warnings.push(warning);
    process.on('warning', note);
    const requests = Array.from({ length: 20 }, (_, i) => ({ ...greedy, tokens: randomTokens(3, 2048, i), maxTokens: 20 - i }));
    const answers = await model.generateBatch(requests, { signal: new AbortController().signal });
    expect(answers.map(({ tokens }) => tokens.length)).toEqual(requests.map(({ maxTokens }) => maxTokens));
    const controller = new AbortController();
    const batch = model.generateBatch([long(13), long(14)], { signal: controller.signal });
    batch.catch(() => {});
    await until(() => model.stats().runningRequests === 2, 'the batch runs');
    controller.abort('all of you');
    expect(await rejection(batch)).toBeInstanceOf(AbortError);
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });
});
