// More adapters than the device has room for: they move in before a request needs them, and out for others.
import { describe, expect, it } from 'vitest';
import { loadModel, type Model, PoolExhaustedError } from '../../lib/index.js';
import { adapterFolder, expectedScores, loraAdapters, modelFolder } from '../models/fixture_files.js';
import { rejection, until, untilIdle } from './driving.js';

const tokens = expectedScores(modelFolder('llama'))[0]?.tokens as number[];
const names = loraAdapters.slice(0, 6);
const folders = Object.fromEntries(names.map((name) => [name, adapterFolder(name)]));
const request = (adapter: string | undefined, maxTokens = 12) => ({ tokens, temperature: 0, ignoreEos: true, maxTokens, adapter });

const answersOf = async (model: Model, wanted: readonly (string | undefined)[]): Promise<number[][]> =>
  (await Promise.all(wanted.map((adapter) => model.complete(request(adapter))))).map(({ tokens: drawn }) => [...drawn]);

describe('adapters that move', () => {
  it('give the same tokens as adapters that stay, whatever the order', async () => {
    using all = await loadModel(modelFolder('llama'), { adapters: folders });
    using few = await loadModel(modelFolder('llama'), { adapters: folders, maxAdapters: 2, moveAdapters: true });
    expect(few.memory().adapters).toEqual({ loaded: 6, resident: 2, movedIn: 2, movedOut: 0 });
    const order = [...names, undefined, ...[...names].reverse(), names[2], undefined, names[0]];
    const expected = await answersOf(all, order);
    expect(await answersOf(few, order)).toEqual(expected);
    expect(await answersOf(few, order)).toEqual(expected);
    const { resident, movedIn, movedOut } = few.memory().adapters;
    expect(resident).toBe(2);
    expect(movedIn - movedOut).toBe(2);
    expect(movedIn).toBeGreaterThanOrEqual(6);
    for (const name of names) expect(few.adapters.get(name).uses).toBe(0);
  });

  it('cross to the device once while they stay wanted', async () => {
    using model = await loadModel(modelFolder('llama'), { adapters: folders, maxAdapters: 3, moveAdapters: true });
    const three = names.slice(3);
    for (let round = 0; round < 4; round++) await answersOf(model, three);
    // The first three when they were loaded, the other three when they were first wanted.
    expect(model.memory().adapters).toEqual({ loaded: 6, resident: 3, movedIn: 6, movedOut: 3 });
    for (const name of three) expect(model.adapters.get(name).resident).toBe(true);
    for (const name of names.slice(0, 3)) expect(model.adapters.get(name).resident).toBe(false);
  });

  it('are sent for while others run', async () => {
    using model = await loadModel(modelFolder('llama'), { adapters: folders, maxAdapters: 2, maxRequests: 1, moveAdapters: true });
    // One request runs at a time: the last waits, and its adapter comes meanwhile in place of one that nobody holds.
    const first = Promise.all([1, 2, 3, 4].map(() => model.complete(request(names[0], 60))));
    await until(() => model.stats().runningRequests === 1, 'the first request runs');
    const there = first.then(() => model.adapters.get(names[5] as string).resident);
    const last = model.complete(request(names[5], 4));
    expect(await there).toBe(true);
    await last;
  });

  it('give up their pages before a running request loses its own', async () => {
    using reference = await loadModel(modelFolder('llama'), { adapters: folders });
    const [expected] = await answersOf(reference, [names[1]]);
    const { pageBytes, heldPages } = reference.memory().pool;
    // Room for two adapters or so and the pages of some requests.
    const pages = Math.ceil(heldPages / 3) + 8;
    using model = await loadModel(modelFolder('llama'), {
      adapters: folders,
      poolBytes: pages * pageBytes,
      contextLength: 96,
      moveAdapters: true,
    });
    const answers = await Promise.all(Array.from({ length: 4 }, () => model.complete(request(names[1]))));
    for (const answer of answers) expect([...answer.tokens]).toEqual(expected);
    expect(model.memory().adapters.movedOut).toBeGreaterThan(0);
    await untilIdle(model);
  });

  it('may be unloaded and replaced wherever they are', async () => {
    using model = await loadModel(modelFolder('llama'), { adapters: folders, maxAdapters: 2, moveAdapters: true });
    const running = names.map((name) => model.complete(request(name)));
    await until(() => names.every((name) => model.adapters.get(name).uses === 1), 'every request holds its adapter');
    for (const name of names) model.adapters.unload(name);
    await model.adapters.load(names[0] as string, adapterFolder(names[1] as string));
    const again = model.complete(request(names[0]));
    const answers = (await Promise.all(running)).map((answer) => [...answer.tokens]);
    using all = await loadModel(modelFolder('llama'), { adapters: folders });
    expect(answers).toEqual(await answersOf(all, names));
    expect([...(await again).tokens]).toEqual(answers[1]);
    model.adapters.unload(names[0] as string);
    expect(model.memory().adapters).toMatchObject({ loaded: 0, resident: 0 });
  });

  it('are refused when they are larger than the whole pool', async () => {
    using reference = await loadModel(modelFolder('llama'), { adapters: folders });
    const { pageBytes } = reference.memory().pool;
    const error = await rejection(
      loadModel(modelFolder('llama'), {
        adapters: folders,
        poolBytes: 2 * pageBytes,
        contextLength: 16,
        maxRequests: 1,
        moveAdapters: true,
      }),
    );
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(error.message).toMatch(/the adapter 'lora.*needs \d+ pages/);
  });

  it('stay refused without the option where there is no room', async () => {
    const error = await rejection(loadModel(modelFolder('llama'), { adapters: folders, maxAdapters: 2, moveAdapters: false }));
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(error.message).toMatch(/all 2 adapter slots are taken/);
  });
});
