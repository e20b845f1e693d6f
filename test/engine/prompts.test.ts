// Prompts as text: how they are read, and what ends the reading.
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { generateSchema } from '../../lib/engine/generate_options.js';
import { PromptReader } from '../../lib/engine/prompt_reader.js';
import { AbortError, loadModel, type Model, PromptTooLongError } from '../../lib/index.js';
import { storyteller } from '../models/fixture_files.js';
import { rejection } from './driving.js';

// About half a second of tokenising.
const long = 'word '.repeat(200_000);
let model: Model;
beforeAll(async () => {
  model = await loadModel(storyteller.base);
});
afterAll(() => model.dispose());

it('gives up at once when its signal is aborted, whatever the tokenizer does', async () => {
  let done = false;
  const other = model.promptTokens({ prompt: long }).then(() => {
    done = true;
  });
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = [model.complete({ prompt: 'Once' }, { signal }), model.score({ text: 'Once upon' }, { signal })].map(rejection);
  setImmediate(() => controller.abort('at once'));
  for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(AbortError);
  expect(done).toBe(false);
  await other;
});

it('hands the signal to the chat template and to the tokenizer', async () => {
  const render = vi.fn(async () => 'Once');
  const encodeAsync = vi.fn(async () => [3, 4]);
  const reader = new PromptReader({
    name: 'm',
    vocabularySize: 9,
    contextLength: 9,
    tokenizer: { encodeAsync } as never,
    chatTemplate: { render } as never,
  });
  const { signal } = new AbortController();
  const request = generateSchema.parse({ messages: [{ role: 'user' }] });
  expect(await reader.prompt(request, { signal, most: 8 })).toEqual([3, 4]);
  expect(render).toHaveBeenCalledWith(request.messages, { signal });
  expect(encodeAsync).toHaveBeenCalledWith('Once', { addSpecialTokens: false, signal, mostTokens: 8 });
});

it('refuses a text that cannot fit without tokenising it', async () => {
  const start = performance.now();
  const { length } = await model.promptTokens({ prompt: long });
  const whole = performance.now() - start;
  const began = performance.now();
  for (const refused of [model.complete({ prompt: long }), model.score({ text: long })]) {
    const error = await rejection(refused);
    expect(error).toBeInstanceOf(PromptTooLongError);
    expect(error.message).toMatch(/^the text has at least \d+ tokens: base takes at most 102[34] in a context of 1024$/);
    expect(error.details?.actual).toBeLessThanOrEqual(length);
  }
  expect(performance.now() - began).toBeLessThan(whole / 2);
});
