// Adapters that are loaded and replaced while requests hold nearly all of the pool.
import { describe, expect, it } from 'vitest';
import { AbortError, DisposedError, type LoadOptions, loadModel, type Model, OptionError, PoolExhaustedError } from '../../lib/index.js';
import { adapterFolder, modelFolder } from '../models/fixture_files.js';
import { Reader, randomTokens, rejection, until, untilIdle } from './driving.js';

const [one, other] = [adapterFolder('lora-rslora'), adapterFolder('lora-all-r3')];
const blockTokens = 16;
const greedy = { temperature: 0, ignoreEos: true };

/** A model whose pool has so many pages beside those of `one`; without a prefix cache, so that what is held is what is used. */
async function modelBeside(pages: number, options: LoadOptions = {}): Promise<{ model: Model; adapterPages: number }> {
  using probe = await loadModel(modelFolder('llama'), { adapters: { one } });
  const { heldPages, pageBytes } = probe.memory().pool;
  const poolBytes = (heldPages + pages) * pageBytes;
  const model = await loadModel(modelFolder('llama'), { poolBytes, prefixCache: false, adapters: { one }, ...options });
  return { model, adapterPages: heldPages };
}

describe('an adapter that is replaced', () => {
  it('never ends requests that fit beside one version of it', async () => {
    // One request at a time, and no room for a second version beside it.
    const { model: own } = await modelBeside(8);
    using model = own;
    const request = { ...greedy, tokens: randomTokens(7 * blockTokens - 4, 256, 1), maxTokens: 4 };
    const expected = (await model.complete(request)).tokens;
    let [replaced, ended] = [0, false];
    const replacing = (async () => {
      for (; !ended; replaced++) await model.adapters.load('one', one);
    })();
    for (let i = 0; i < 40; i++) expect((await model.complete(request)).tokens).toEqual(expected);
    ended = true;
    await replacing;
    expect(replaced).toBeGreaterThan(0);
    await untilIdle(model);
  });

  it('needs no slot that is free, but a new name does', async () => {
    using model = await loadModel(modelFolder('llama'), { maxAdapters: 2, adapters: { one, other } });
    const first = model.adapters.get('one').contentHash;
    await model.adapters.load('one', other);
    expect(model.adapters.get('one').contentHash).not.toBe(first);
    // Two versions of both at the same time are more than there are slots.
    const both = await Promise.all(['one', 'other', 'one', 'other'].map((name) => model.adapters.load(name, one)));
    expect(both.map(({ contentHash }) => contentHash)).toEqual([first, first, first, first]);
    const error = await rejection(model.adapters.load('third', one));
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(error.message).toMatch(/all 2 adapter slots are taken/);
  });

  it('is the one that was loaded last, whichever is read faster', async () => {
    using model = await loadModel(modelFolder('llama'));
    // The first takes longer to be made.
    const loads = ['oft', 'lora'].map((name) => model.adapters.load('own', adapterFolder(name)));
    expect((await Promise.all(loads)).map(({ kind }) => kind)).toEqual(['OFT', 'LoRA']);
    expect(model.adapters.get('own').kind).toBe('LoRA');
    const [missing, good] = await Promise.allSettled([
      model.adapters.load('own', '/nowhere'),
      model.adapters.load('own', adapterFolder('lora-rslora')),
    ]);
    expect([missing?.status, good?.status]).toEqual(['rejected', 'fulfilled']);
    expect(model.adapters.get('own').kind).toBe('rsLoRA');
  });
});

describe('an adapter that is loaded into a full pool', () => {
  it('takes pages of the youngest requests, which are computed again to the same tokens', async () => {
    const { model: probe, adapterPages } = await modelBeside(0);
    const { pageBytes } = probe.memory().pool;
    probe.dispose();
    using model = await loadModel(modelFolder('llama'), { poolBytes: (2 * adapterPages + 8) * pageBytes, prefixCache: false });
    // Eight pages each at the end.
    const requests = [0, 1, 2].map((seed) => ({ ...greedy, tokens: randomTokens(60, 256, seed), maxTokens: 60 }));
    using quiet = await loadModel(modelFolder('llama'));
    const expected = await Promise.all(requests.map((request) => quiet.complete(request)));
    const readers = requests.map((request) => new Reader(model.generate(request)));
    await Promise.all(readers.map((reader) => reader.next()));
    await model.adapters.load('one', one);
    await model.adapters.load('two', one);
    await Promise.all(readers.map((reader) => reader.rest()));
    expect(readers.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
    expect(model.stats().preemptions).toBeGreaterThan(0);
    await untilIdle(model);
    expect(model.memory().pool.heldPages).toBe(2 * adapterPages);
  });

  it('waits for a request that would not fit beside it', async () => {
    const { model: own, adapterPages } = await modelBeside(6);
    using model = own;
    model.adapters.unload('one');
    const tokens = 16 * (adapterPages + 2);
    const reader = new Reader(model.generate({ ...greedy, tokens: [5], maxTokens: tokens }));
    await reader.next();
    const load = model.adapters.load('one', one);
    // Those that come later do not keep it waiting.
    const later = model.complete({ ...greedy, tokens: [5], maxTokens: 20 });
    expect((await reader.rest()).tokens).toHaveLength(tokens);
    await load;
    expect((await later).tokens).toHaveLength(20);
  });

  // A request holds the old version, and there is no room for both beside it.
  async function waiting(signal?: AbortSignal): Promise<{ model: Model; reader: Reader; load: Promise<unknown> }> {
    const { model: probe, adapterPages } = await modelBeside(0);
    probe.dispose();
    const { model } = await modelBeside(adapterPages + 2);
    const reader = new Reader(model.generate({ ...greedy, tokens: [5, 6], maxTokens: 90, adapter: 'one' }));
    await reader.next();
    const load = model.adapters.load('one', one, { signal });
    load.catch(() => {});
    return { model, reader, load };
  }

  it('waits until the version that it replaces is no longer used', async () => {
    const { model: own, reader, load } = await waiting();
    using model = own;
    let loaded = false;
    const done = load.then(() => {
      loaded = true;
    });
    for (let i = 0; i < 3; i++) await reader.next();
    expect(loaded).toBe(false);
    await reader.rest();
    expect(reader.tokens).toHaveLength(90);
    await done;
    expect(model.adapters.get('one').uses).toBe(0);
  });

  it('is aborted while it waits, and nothing has changed', async () => {
    const stop = new AbortController();
    const { model: own, reader, load } = await waiting(stop.signal);
    using model = own;
    stop.abort(new Error('enough'));
    const error = await rejection(load);
    expect(error).toBeInstanceOf(AbortError);
    expect(error.cause).toMatchObject({ message: 'enough' });
    expect((await reader.rest()).tokens).toHaveLength(90);
    expect((await model.complete({ ...greedy, tokens: [5], maxTokens: 2, adapter: 'one' })).tokens).toHaveLength(2);
    expect(await rejection(model.adapters.load('one', one, { signal: stop.signal }))).toBeInstanceOf(AbortError);
  });

  it('is aborted while it waits for an earlier load of its name', async () => {
    const { model: own, reader, load } = await waiting();
    using model = own;
    const stop = new AbortController();
    const later = model.adapters.load('one', other, { signal: stop.signal });
    const last = model.adapters.load('one', other);
    stop.abort();
    expect(await rejection(later)).toBeInstanceOf(AbortError);
    await reader.rest();
    // Those that were not aborted still come in their order.
    await load;
    const { contentHash } = await last;
    expect(model.adapters.get('one').contentHash).toBe(contentHash);
  });

  it('for lack of a slot takes no pages from requests, which end', { timeout: 20_000 }, async () => {
    const { model: probe, adapterPages } = await modelBeside(0);
    probe.dispose();
    const { model: own } = await modelBeside(2 * adapterPages + 8, { maxAdapters: 1, maxRequests: 1, maxStepTokens: 16 });
    using model = own;
    const scores = Array.from({ length: 30 }, (_, seed) => model.score({ tokens: randomTokens(220, 256, seed) }));
    // Behind them, with the version of now.
    const last = model.complete({ ...greedy, tokens: [5], maxTokens: 4, adapter: 'one' });
    await model.adapters.load('one', one);
    const third = model.adapters.load('one', one);
    await Promise.all(scores);
    expect((await last).tokens).toHaveLength(4);
    await third;
    expect(model.stats().preemptions).toBeLessThan(10);
  });

  it('is refused where it cannot fit beside others that are being loaded, and those behind it are not', async () => {
    const { model: probe, adapterPages } = await modelBeside(0);
    probe.dispose();
    const { model: own } = await modelBeside(adapterPages - 1);
    using model = own;
    model.adapters.unload('one');
    const [first, second, small] = await Promise.allSettled([
      model.adapters.load('a', one),
      model.adapters.load('b', one),
      model.adapters.load('c', adapterFolder('ia3')),
    ]);
    expect(adapterPages).toBeGreaterThan(2);
    expect([first?.status, second?.status, small?.status].filter((status) => status === 'rejected')).toHaveLength(1);
    expect(small?.status).toBe('fulfilled');
  });

  it('is refused when the model is disposed meanwhile', async () => {
    const { model, load } = await waiting();
    await until(() => model.stats().steps > 0, 'steps are made');
    model.dispose();
    expect(await rejection(load)).toBeInstanceOf(DisposedError);
  });

  it('is refused at once where other adapters hold what it needs', async () => {
    const { model: own, adapterPages } = await modelBeside(6);
    using model = own;
    const reader = new Reader(model.generate({ ...greedy, tokens: [5, 6], maxTokens: 90 }));
    await reader.next();
    const error = await rejection(model.adapters.load('two', one));
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(error.message).toContain(`the adapter 'two' beside ${adapterPages} pages of loaded adapters needs ${2 * adapterPages} pages`);
    expect((await reader.rest()).tokens).toHaveLength(90);
  });
});

it.each([
  [undefined, one, /adapters\.load\.name is undefined/],
  ['', one, /adapters\.load\.name is "": expected a name/],
  [5, one, /adapters\.load\.name is 5/],
  ['x', undefined, /adapters\.load\.folder is undefined/],
])('a name %s and a folder %s are refused', async (name, folder, message) => {
  using model = await loadModel(modelFolder('llama'));
  const error = await rejection(model.adapters.load(name as string, folder as string));
  expect(error).toBeInstanceOf(OptionError);
  expect(error.message).toMatch(message);
  expect(await rejection(model.adapters.load('x', one, { sgnal: undefined } as object))).toMatchObject({ code: 'ERR_HEDDLE_OPTION' });
});
