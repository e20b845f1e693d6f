// What one request asks for and what it gets: ends, text, log-probabilities, and how tokens are drawn.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GenerateRequest, loadModel, type Model } from '../../lib/index.js';
import { bitsOf, modelFolder, storyteller } from '../models/fixture_files.js';
import { Reader, randomTokens } from './driving.js';

let model: Model;
const prompt = 'It was a dark night, and';
const greedy: GenerateRequest = { prompt, temperature: 0, ignoreEos: true, maxTokens: 48 };
beforeAll(async () => {
  model = await loadModel(storyteller.base);
});
afterAll(() => model.dispose());

describe('the end of an answer', () => {
  it('is its length', async () => {
    const { tokens, finishReason, promptTokens } = await model.complete({ ...greedy, maxTokens: 7 });
    expect({ tokens: tokens.length, finishReason }).toEqual({ tokens: 7, finishReason: 'length' });
    expect(promptTokens).toBe((await model.promptTokens({ prompt })).length);
  });

  it('is the end of the context', async () => {
    using small = await loadModel(modelFolder('llama'));
    const { tokens, finishReason } = await small.complete({ tokens: randomTokens(250, 256, 1), ignoreEos: true });
    expect({ tokens: tokens.length, finishReason }).toEqual({ tokens: 6, finishReason: 'length' });
    using short = await loadModel(modelFolder('llama'), { contextLength: 40 });
    expect((await short.complete({ tokens: [7, 8], ignoreEos: true, maxTokens: 100 })).tokens).toHaveLength(38);
  });

  it('is the model’s own end of text, unless that is ignored', async () => {
    const biased = { ...greedy, maxTokens: 4, logitBias: { 0: 1000 } };
    expect(await model.complete({ ...biased, ignoreEos: false })).toMatchObject({ tokens: [0], text: '', finishReason: 'stop' });
    expect(await model.complete(biased)).toMatchObject({ tokens: [0, 0, 0, 0], finishReason: 'length' });
  });

  it('is a stop token, whose text is left out', async () => {
    const whole = await model.complete(greedy);
    const stop = whole.tokens[9] as number;
    const at = whole.tokens.indexOf(stop);
    const short = await model.complete({ ...greedy, stopTokens: [stop, 1] });
    expect(short).toMatchObject({ tokens: whole.tokens.slice(0, at + 1), finishReason: 'stop' });
    expect(short.text).toBe((await model.complete({ ...greedy, maxTokens: at })).text);
  });

  it('is a stop string, wherever tokens and bursts cut it', async () => {
    const { text, tokens } = await model.complete(greedy);
    for (let from = 5; from + 9 < text.length; from += 11)
      for (const length of [1, 4, 9]) {
        const stop = text.slice(from, from + length);
        const reader = await new Reader(model.generate({ ...greedy, stop: ['never there', stop] })).rest();
        expect(reader.text, JSON.stringify(stop)).toBe(text.slice(0, text.indexOf(stop)));
        expect(reader.finishReason).toBe('stop');
        expect(tokens.slice(0, reader.tokens.length)).toEqual(reader.tokens);
        // No token more than the stop string needs.
        if (length === 4 && from < 40)
          expect((await model.complete({ ...greedy, maxTokens: reader.tokens.length - 1 })).text).not.toContain(stop);
      }
  });

  it('gives the text that was held back for a stop string that did not come', async () => {
    const { text } = await model.complete(greedy);
    expect(await model.complete({ ...greedy, stop: `${text.slice(-4)}…` })).toMatchObject({ text, finishReason: 'length' });
  });

  it('does not let a stopped answer disturb the one beside it', async () => {
    const { text, tokens } = await model.complete(greedy);
    const [stopped, other] = await model.generateBatch([{ ...greedy, stop: text.slice(20, 24) }, greedy]);
    expect(stopped?.finishReason).toBe('stop');
    expect(other).toMatchObject({ text, tokens });
  });
});

describe('log-probabilities', () => {
  it('are the model’s own, however the token was drawn', async () => {
    const request = {
      tokens: randomTokens(9, 2048, 4),
      maxTokens: 30,
      ignoreEos: true,
      seed: 3,
      temperature: 1.4,
      repetitionPenalty: 1.3,
      logitBias: { 7: 3 },
    };
    const { tokens, logprobs } = await model.complete(request);
    const score = await model.score({ tokens: [...request.tokens, ...tokens] });
    expect(bitsOf(logprobs.map((t) => t.logprob))).toBe(bitsOf(score.logprobs.slice(request.tokens.length)));
  });

  it('come with as many likely tokens as asked for, best first', async () => {
    const [none, five, twenty] = await model.generateBatch([0, 5, 20].map((topLogprobs) => ({ ...greedy, topLogprobs })));
    expect(none?.logprobs.every(({ top }) => top.length === 0)).toBe(true);
    for (const { token, logprob, top } of five?.logprobs ?? []) {
      expect(top).toHaveLength(5);
      expect(top[0]).toEqual({ token, logprob });
      expect(top.map((t) => t.logprob)).toEqual(top.map((t) => t.logprob).sort((a, b) => b - a));
    }
    expect(twenty?.logprobs.map(({ top }) => top.slice(0, 5))).toEqual(five?.logprobs.map(({ top }) => top));
    expect(twenty?.logprobs[0]?.top).toHaveLength(20);
  });

  it('sum to the score of the text', async () => {
    const { logprobs, nll, count, perplexity, tokens } = await model.score({ text: prompt });
    expect(logprobs[0]).toBeNull();
    expect(count).toBe(tokens.length - 1);
    expect(nll).toBeCloseTo(-logprobs.slice(1).reduce<number>((sum, p) => sum + (p as number), 0), 12);
    expect(perplexity).toBeCloseTo(Math.exp(nll / count), 12);
    expect(await model.score({ tokens: [9] })).toMatchObject({ logprobs: [null], count: 0, nll: 0, perplexity: 1 });
  });
});

describe('how tokens are drawn', () => {
  const sampled: GenerateRequest = { prompt, maxTokens: 24, ignoreEos: true, seed: 41 };
  const tokensOf = async (request: GenerateRequest): Promise<readonly number[]> => (await model.complete(request)).tokens;

  it('follows the seed, alone and in company', async () => {
    const [alone, again] = [await tokensOf(sampled), await tokensOf(sampled)];
    expect(again).toEqual(alone);
    const company = await model.generateBatch([{ ...sampled, seed: 42 }, sampled, { ...sampled, seed: 2 ** 40 + 41 }]);
    expect(company[1]?.tokens).toEqual(alone);
    expect(company[0]?.tokens).not.toEqual(alone);
    expect(company[2]?.tokens).not.toEqual(alone);
    const { seed: _, ...unseeded } = sampled;
    expect(await tokensOf(unseeded)).not.toEqual(await tokensOf(unseeded));
  });

  it.each([{ topK: 1 }, { topP: 1e-9 }, { minP: 1 }, { temperature: 1e-6 }, { temperature: 1e-40 }])(
    'is greedy with %j',
    async (options) => {
      expect(await tokensOf({ ...sampled, ...options })).toEqual(await tokensOf({ ...sampled, temperature: 0 }));
    },
  );

  it.each([{ temperature: 0.3 }, { topK: 3 }, { topP: 0.3 }, { minP: 0.4 }])('changes with %j', async (options) => {
    expect(await tokensOf({ ...sampled, ...options })).not.toEqual(await tokensOf(sampled));
  });

  it.each([{ frequencyPenalty: 100 }, { presencePenalty: 100 }])('never repeats a token with %j', async (options) => {
    const plain = await tokensOf(greedy);
    expect(new Set(plain).size).toBeLessThan(plain.length);
    const punished = await tokensOf({ ...greedy, ...options });
    expect(new Set(punished).size).toBe(punished.length);
  });

  it('counts the prompt in the repetition penalty only', async () => {
    const tokens = (await model.promptTokens({ prompt })).slice(0, 6);
    const wanted = { tokens, temperature: 0, ignoreEos: true, maxTokens: 1, logitBias: { [tokens[2] as number]: 30 } };
    expect(await tokensOf(wanted)).toEqual([tokens[2]]);
    expect(await tokensOf({ ...wanted, frequencyPenalty: 100, presencePenalty: 100 })).toEqual([tokens[2]]);
    expect(await tokensOf({ ...wanted, repetitionPenalty: 100 })).not.toEqual([tokens[2]]);
  });

  it('obeys biases for and against tokens', async () => {
    expect(await tokensOf({ ...greedy, maxTokens: 3, logitBias: { 77: 1e30 } })).toEqual([77, 77, 77]);
    const [first] = await tokensOf({ ...greedy, maxTokens: 1 });
    expect(await tokensOf({ ...greedy, maxTokens: 1, logitBias: { [first as number]: -1e30 } })).not.toEqual([first]);
    const many = Object.fromEntries(Array.from({ length: 512 }, (_, i) => [i, -1e30]));
    expect(Math.min(...(await tokensOf({ ...sampled, logitBias: many })))).toBeGreaterThan(511);
  });
});

it('renders no conversation without a template, and says so', async () => {
  await expect(model.complete({ messages: [{ role: 'user', content: 'hello' }] })).rejects.toThrow(/has no chat template/);
});
