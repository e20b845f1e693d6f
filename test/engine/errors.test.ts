// Wrong requests: each kind its own class and code, before anything has run.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DisposedError,
  FileFormatError,
  type GenerateRequest,
  HeddleError,
  loadModel,
  type Model,
  ModelError,
  memory,
  OptionError,
  PoolExhaustedError,
  PromptTooLongError,
  setThreads,
} from '../../lib/index.js';
import { modelFolder, storyteller } from '../models/fixture_files.js';
import { changedCopy, scratchFolder } from '../models/write_fixture.js';
import { randomTokens, rejection, until } from './driving.js';

let model: Model;
beforeAll(async () => {
  model = await loadModel(modelFolder('llama'));
});
afterAll(() => model.dispose());

// What a JavaScript user may pass, whatever TypeScript thinks of it.
const asRequest = (value: unknown): GenerateRequest => value as GenerateRequest;

const holdsItself: { self?: unknown } = {};
holdsItself.self = holdsItself;

describe('a request with a mistake', () => {
  const cases: [string, unknown, RegExp][] = [
    ['a mistyped option', { tokens: [3], maxToken: 4 }, /^generate has no option 'maxToken': did you mean 'maxTokens'\?$/],
    ['an option in another spelling', { tokens: [3], top_p: 0.5 }, /did you mean 'topP'\?$/],
    ['an option of another library', { tokens: [3], beams: 4 }, /^generate has no option 'beams': expected one of .*temperature/],
    [
      'a mistyped field of an adapter',
      { tokens: [3], adapter: { name: 'a', scael: 1 } },
      /^generate\.adapter has no option 'scael': did you mean 'scale'\?$/,
    ],
    ['one of several', { tokens: [3], adapter: ['a', { nam: 'b' }] }, /^generate\.adapter\.1\.?.*(nam|name)/],
    ['the wrong type', { tokens: [3], temperature: 'hot' }, /^generate\.temperature is "hot": /],
    ['a number out of range', { tokens: [3], topP: 1.5 }, /^generate\.topP is 1\.5: /],
    ['too many likely tokens', { tokens: [3], topLogprobs: 21 }, /^generate\.topLogprobs is 21: /],
    ['no tokens to make', { tokens: [3], maxTokens: 0 }, /^generate\.maxTokens is 0: /],
    ['a top-k beyond 32 bits', { tokens: [3], topK: 2 ** 31 }, /^generate\.topK is 2147483648: /],
    ['an infinite bias', { tokens: [3], logitBias: { 5: Number.POSITIVE_INFINITY } }, /^generate\.logitBias/],
    ['a bias for no token', { tokens: [3], logitBias: { five: 1 } }, /^generate\.logitBias/],
    ['a bias for a token that is none', { tokens: [3], logitBias: { 256: 1 } }, /^logitBias: 256 is no token of llama: expected 0 to 255$/],
    [
      'more biases than a step holds',
      { tokens: [3], logitBias: Object.fromEntries(Array.from({ length: 513 }, (_, i) => [i, 1])) },
      /^generate\.logitBias .*expected at most 512 tokens$/,
    ],
    ['a token beyond the vocabulary', { tokens: [3, 256] }, /^tokens: 256 is no token of llama: expected 0 to 255$/],
    ['a token that is no number', { tokens: [3, 'x'] }, /^generate\.tokens\.1 is "x": /],
    ['a stop token that is none', { tokens: [3], stopTokens: [300] }, /^stopTokens: 300 is no token of llama: expected 0 to 255$/],
    [
      'a bias for a token in a spelling of its own',
      { tokens: [3], logitBias: { '05': 1 } },
      /^generate\.logitBias has the key '05': expected token ids/,
    ],
    ['a bias that is no number', { tokens: [3], logitBias: { 5: '1' } }, /^generate\.logitBias\.5 is "1": Invalid input: expected number/],
    ['biases that are no record', { tokens: [3], logitBias: [1] }, /^generate\.logitBias is \[1\]: Invalid input: expected record/],
    ['a number that is none', { tokens: [3], temperature: Number.NaN }, /^generate\.temperature is NaN: /],
    ['an infinite number', { tokens: [3], temperature: Number.POSITIVE_INFINITY }, /^generate\.temperature is Infinity: /],
    ['a scale out of range', { tokens: [3], adapter: { name: 'a', scale: 5000 } }, /^generate\.adapter\.scale is 5000: Too big: .*<=1000$/],
    [
      'a scale of the wrong type',
      { tokens: [3], adapter: ['a', { name: 'b', scale: 'x' }] },
      /^generate\.adapter\.1\.scale is "x": .*expected number/,
    ],
    [
      'an adapter that is none',
      { tokens: [3], adapter: 5 },
      /^generate\.adapter is 5: expected an adapter's name, \{ name, scale \}, or an array of them$/,
    ],
    ['a token below zero', { tokens: [3, -1] }, /^generate\.tokens\.1 is -1: Too small: expected number to be >=0$/],
    ['half a token', { tokens: [1.5] }, /^generate\.tokens\.0 is 1\.5: Invalid input: expected int/],
    ['tokens that are no array', { tokens: 'abc' }, /^generate\.tokens is "abc": Invalid input: expected array/],
    ['an empty prompt', { tokens: [] }, /^the prompt is empty: expected at least one token$/],
    ['nothing to continue', { maxTokens: 4 }, /one of prompt, messages and tokens: got 0$/],
    ['two things to continue', { tokens: [3], prompt: 'x' }, /one of prompt, messages and tokens: got 2$/],
    ['text without a tokenizer', { prompt: 'x' }, /^llama has no tokenizer: give tokens instead of text$/],
    [
      'stop strings without a tokenizer',
      { tokens: [3], stop: 'x' },
      /^llama has no tokenizer: stop strings cannot be seen, give stopTokens$/,
    ],
    ['a BigInt', { tokens: [3], maxTokens: 4n }, /^generate\.maxTokens is 4n: /],
    ['an object that holds itself', { tokens: [3], prompt: holdsItself }, /^generate\.prompt is <ref \*1> \{ self: \[Circular \*1\] \}: /],
    ['an adapter that is none', { tokens: [3], adapter: [5] }, /^generate\.adapter\.0 is 5: expected an adapter/],
    ['no object at all', 'Once upon a time', /^generate is "Once upon a time": /],
    ['nothing', undefined, /^generate is undefined: /],
  ];

  it.each(cases)('%s', async (_, request, message) => {
    const { steps } = model.stats();
    for (const error of [await rejection(model.complete(asRequest(request))), await rejection(model.generate(asRequest(request)).next())]) {
      expect(error).toBeInstanceOf(OptionError);
      expect(error.code).toBe('ERR_HEDDLE_OPTION');
      expect(error.message).toMatch(message);
    }
    expect(model.stats().steps).toBe(steps);
  });

  it('does not harm the requests beside it', async () => {
    const good = { tokens: [3, 4, 5], maxTokens: 20, temperature: 0, ignoreEos: true };
    const [alone] = await model.generateBatch([good]);
    const wrong = cases.map(([, request]) => rejection(model.complete(asRequest(request))));
    expect(await model.complete(good)).toEqual(alone);
    await Promise.all(wrong);
  });

  it('that is too long for the context', async () => {
    const error = await rejection(model.complete({ tokens: randomTokens(256, 256, 1) }));
    expect(error).toBeInstanceOf(PromptTooLongError);
    expect(error.code).toBe('ERR_HEDDLE_PROMPT_TOO_LONG');
    expect(error.message).toBe('the text has 256 tokens: llama takes at most 255 in a context of 256');
    expect(error.details).toEqual({ actual: 256, expected: 255 });
    expect((await model.score({ tokens: randomTokens(256, 256, 1) })).count).toBe(255);
    expect(await rejection(model.score({ tokens: randomTokens(257, 256, 1) }))).toBeInstanceOf(PromptTooLongError);
  });

  it('is found without holding up the event loop, however long it is', async () => {
    const tokens = new Array<number>(1_000_000).fill(3);
    const start = performance.now();
    const answer = rejection(model.complete({ tokens }));
    expect(performance.now() - start).toBeLessThan(60);
    expect((await answer).message).toMatch(/^the text has 1000000 tokens: /);
  });

  it('leaves what was passed to whoever passed it', async () => {
    const request = { tokens: [3, 4], logitBias: { 5: 1e30 }, temperature: 0, maxTokens: 40, ignoreEos: true };
    const answer = model.complete(request);
    Object.assign(request.logitBias, { 999: 1 });
    expect(new Set((await answer).tokens)).toEqual(new Set([5]));
    expect(request.tokens).toEqual([3, 4]);
  });

  it('in the options of a call', async () => {
    const { steps } = model.stats();
    const calls: [string, (options: object) => Promise<unknown>][] = [
      ['generate', (options) => model.complete({ tokens: [3] }, options)],
      ['generate', (options) => model.generate({ tokens: [3] }, options).next()],
      ['generateBatch', (options) => model.generateBatch([{ tokens: [3] }], options)],
      ['score', (options) => model.score({ tokens: [3, 4] }, options)],
    ];
    for (const [what, call] of calls) {
      const mistyped = await rejection(call({ sgnal: AbortSignal.abort() }));
      expect(mistyped).toBeInstanceOf(OptionError);
      expect(mistyped.message).toBe(`${what} has no option 'sgnal': did you mean 'signal'?`);
      const wrong = await rejection(call({ signal: {} }));
      expect(wrong).toBeInstanceOf(OptionError);
      expect(wrong.message).toBe(`${what}.signal is {}: expected an AbortSignal`);
      expect(await rejection(call(null as never))).toBeInstanceOf(OptionError);
    }
    expect(await rejection(model.generateBatch({} as never))).toBeInstanceOf(OptionError);
    expect(await rejection(model.promptTokens(undefined as never))).toBeInstanceOf(OptionError);
    expect(model.stats()).toMatchObject({ steps, runningRequests: 0, waitingRequests: 0 });
  });

  it('to score', async () => {
    expect((await rejection(model.score(asRequest({ token: [3] })))).message).toBe("score has no option 'token': did you mean 'tokens'?");
    expect((await rejection(model.score({}))).message).toBe('score: expected one of text and tokens');
    expect((await rejection(model.score({ tokens: [] }))).message).toBe('the text is empty: expected at least one token');
    expect((await rejection(model.score({ tokens: [-1] }))).code).toBe('ERR_HEDDLE_OPTION');
    expect((await rejection(model.score({ tokens: [999] }))).message).toMatch(/999 is no token of llama/);
  });
});

describe('loadModel', () => {
  const refused = async (
    folder: string,
    options: unknown,
    message: RegExp,
    Class: new (...args: never[]) => HeddleError = OptionError,
  ): Promise<void> => {
    const before = memory().bytes;
    const error = await rejection(loadModel(folder, options as object));
    expect(error).toBeInstanceOf(Class);
    expect(error.message).toMatch(message);
    await until(() => memory().bytes === before, 'all memory is given back');
  };

  it('names options that it does not have or cannot take', async () => {
    const folder = modelFolder('llama');
    await refused(folder, { adaptors: {} }, /^loadModel has no option 'adaptors': did you mean 'adapters'\?$/);
    await refused(folder, { cacheDType: 'f32' }, /did you mean 'cacheDtype'\?$/);
    await refused(folder, { adapters: JSON.parse('{"__proto__": "x"}') }, /^loadModel\.adapters has the key '__proto__'/);
    await refused(folder, { maxRequests: 0 }, /^loadModel\.maxRequests is 0: /);
    await refused(folder, { precision: 'exact' }, /^loadModel\.precision is "exact": /);
    await refused(folder, { contextLength: 257 }, /^loadModel\.contextLength is 257: llama was made for at most 256$/);
    await refused(folder, { poolBytes: 100 }, /^poolBytes is 100: expected at least one page of \d+ bytes$/);
    await refused(folder, { onProgress: 'loud' }, /^loadModel\.onProgress is "loud": expected a function$/);
    await refused(folder, { signal: {} }, /^loadModel\.signal /);
  });

  it('takes a path or an id', async () => {
    for (const path of [undefined, 5, new URL('file:///llama')])
      await refused(path as never, {}, /^the model is of type \w+: expected the path of its folder or org\/name$/);
  });

  it('stops for its signal, with nothing left behind', async () => {
    const before = memory().bytes;
    expect((await rejection(loadModel(modelFolder('llama'), { signal: AbortSignal.abort('no') }))).code).toBe('ABORT_ERR');
    const controller = new AbortController();
    const loading = loadModel(storyteller.base, { signal: controller.signal, onProgress: () => controller.abort('enough') });
    expect((await rejection(loading)).code).toBe('ABORT_ERR');
    await until(() => memory().bytes === before, 'all memory is given back');
  });

  it('tells of its progress', async () => {
    const seen: { bytes: number; totalBytes: number }[] = [];
    using loaded = await loadModel(modelFolder('qwen3'), { onProgress: (progress) => seen.push(progress) });
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.map(({ bytes }) => bytes)).toEqual(seen.map(({ bytes }) => bytes).sort((a, b) => a - b));
    expect(seen.at(-1)?.bytes).toBe(seen[0]?.totalBytes);
    expect(loaded.memory().weights).toBe(seen[0]?.totalBytes);
  });

  it('says what is wrong with a folder', async () => {
    using scratch = scratchFolder();
    await refused(join(scratch.path, 'nowhere'), {}, /nowhere/, HeddleError);
    const empty = join(scratch.path, 'empty');
    mkdirSync(empty);
    await refused(empty, {}, /config\.json/, ModelError);
    const broken = changedCopy(modelFolder('llama'), join(scratch.path, 'broken'), 'model.safetensors', () => {});
    writeFileSync(join(broken, 'config.json'), '{ "model_type": "llama", ');
    await refused(broken, {}, /config\.json/, FileFormatError);
    const unknown = changedCopy(modelFolder('llama'), join(scratch.path, 'unknown'), 'model.safetensors', () => {});
    writeFileSync(join(unknown, 'config.json'), JSON.stringify({ model_type: 'lama', vocab_size: 256 }));
    await refused(unknown, {}, /lama/, ModelError);
    const missing = changedCopy(modelFolder('llama'), join(scratch.path, 'missing'), 'model.safetensors', (tensors) => {
      delete tensors['model.layers.1.mlp.up_proj.weight'];
    });
    await refused(missing, {}, /model\.layers\.1\.mlp\.up_proj\.weight/, ModelError);
    const misshapen = changedCopy(modelFolder('llama'), join(scratch.path, 'misshapen'), 'model.safetensors', (tensors) => {
      tensors['model.norm.weight'] = { shape: [47], data: new Float32Array(47) };
    });
    await refused(misshapen, {}, /model\.norm\.weight.*\[47\].*\[48\]/, ModelError);
  });

  it('compares the sizes of config.json with the tensors before it reserves memory for them', async () => {
    using scratch = scratchFolder();
    const huge = 2 ** 31 - 2;
    const cases: [Record<string, unknown>, RegExp][] = [
      [{ hidden_size: 2 ** 31 }, /config\.json: hidden_size is 2147483648: .*<=2147483647$/],
      [{ hidden_size: huge, head_dim: 12 }, /embed_tokens\.weight is \[256, 48\], expected \[256, 2147483646\] by config\.json$/],
      [{ intermediate_size: huge }, /mlp\.gate_proj\.weight is \[88, 48\], expected \[2147483646, 48\] by config\.json$/],
      [{ head_dim: huge }, /self_attn\.q_proj\.weight is \[48, 48\], expected \[8589934584, 48\] by config\.json$/],
      [{ num_attention_heads: huge, head_dim: 12 }, /self_attn\.q_proj\.weight is \[48, 48\], expected \[25769803752, 48\]/],
      [{ vocab_size: huge }, /embed_tokens\.weight is \[256, 48\], expected \[2147483646, 48\] by config\.json$/],
    ];
    const folder = changedCopy(modelFolder('llama'), join(scratch.path, 'sizes'), 'model.safetensors', () => {});
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    for (const [change, message] of cases) {
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...change }));
      await refused(folder, {}, message, ModelError);
    }
  });

  it('names what asks for more memory than there is', async () => {
    using scratch = scratchFolder();
    const folder = changedCopy(modelFolder('llama'), join(scratch.path, 'long'), 'model.safetensors', () => {});
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 2 ** 31 - 1 }));
    const cpu = { device: 'cpu' };
    const longest = 'contextLength 2147483647 \\(max_position_embeddings of long\\)';
    await refused(
      folder,
      cpu,
      new RegExp(`^a pool for ${longest}: cannot allocate \\d+ bytes.* a smaller contextLength`),
      PoolExhaustedError,
    );
    await refused(
      folder,
      { ...cpu, poolBytes: 2 ** 20, maxRequests: 4096 },
      new RegExp(`^tokens of maxRequests 4096 of ${longest}: cannot allocate \\d+ bytes.* a smaller contextLength or maxRequests$`),
      PoolExhaustedError,
    );
    await refused(
      modelFolder('llama'),
      { ...cpu, poolBytes: 2 ** 49 },
      /^poolBytes 562949953421312: cannot allocate \d+ bytes.* smaller poolBytes$/,
      PoolExhaustedError,
    );
    using limited = await loadModel(folder, { device: 'cpu', contextLength: 64 });
    expect((await limited.complete({ tokens: [3], maxTokens: 1 })).tokens).toHaveLength(1);
  });
});

it('setThreads takes numbers of threads only', () => {
  for (const threads of [0, -1, 1.5, Number.NaN, 4096]) expect(() => setThreads(threads)).toThrow(OptionError);
});

describe('a model that was disposed', () => {
  it('says so, whatever it is asked', async () => {
    const gone = await loadModel(modelFolder('llama'));
    gone.dispose();
    gone.dispose();
    expect(gone.disposed).toBe(true);
    const late = [
      rejection(gone.complete({ tokens: [3] })),
      rejection(gone.generate({ tokens: [3] }).next()),
      rejection(gone.generateBatch([{ tokens: [3] }])),
      rejection(gone.score({ tokens: [3] })),
      rejection(gone.adapters.load('a', modelFolder('llama'))),
      rejection(gone.promptTokens({ tokens: [3] })),
      rejection(gone.setProfiling(true)),
      ...[
        () => gone.memory(),
        () => gone.adapters.list(),
        () => gone.adapters.has('a'),
        () => gone.adapters.get('a'),
        () => gone.adapters.unload('a'),
      ].map((ask) => rejection(Promise.resolve().then(ask))),
    ];
    for (const error of await Promise.all(late)) {
      expect(error).toBeInstanceOf(DisposedError);
      expect(error.code).toBe('ERR_HEDDLE_DISPOSED');
      expect(error.message).toBe('llama was used after dispose()');
    }
  });
});
