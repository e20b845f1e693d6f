// The trained example with its five adapters: losses on ready-made windows and greedy text against PEFT.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { storyteller } from '../models/fixture_files.js';

interface Expected {
  windows: Record<string, number[][]>;
  windowLoss: Record<string, Record<string, number>>;
  greedy: Record<string, Record<string, { tokens: number[]; text: string; top2_gap: number }>>;
  tokenizer: Record<string, { text: string; tokens: number[] }>;
}
const expected = JSON.parse(readFileSync(storyteller.expected, 'utf8')) as Expected;
const writers = Object.keys(expected.windowLoss).filter((name) => name !== 'base');
const adapterOf = (who: string): { adapter?: string } => (who === 'base' ? {} : { adapter: who });
let model: Model;

beforeAll(async () => {
  model = await loadModel(storyteller.base, { adapters: Object.fromEntries(writers.map((name) => [name, storyteller.adapter(name)])) });
});
afterAll(() => model.dispose());

it('reads every text as PEFT does, with each adapter, in shared steps', async () => {
  const cells = Object.entries(expected.windows).flatMap(([text, windows]) => ['base', ...writers].map((who) => ({ text, who, windows })));
  const losses = await Promise.all(
    cells.map(async ({ who, windows }) => {
      const scores = await Promise.all(windows.map((tokens) => model.score({ tokens, ...adapterOf(who) })));
      return scores.reduce((sum, { nll, count }) => sum + nll / count, 0) / scores.length;
    }),
  );
  // bf16 products differ in their last bits between libraries.
  for (const [i, { text, who }] of cells.entries())
    expect(Math.abs((losses[i] as number) - (expected.windowLoss[who]?.[text] as number)), `${who} on ${text}`).toBeLessThan(2e-3);
  expect(model.stats().maxAdaptersInStep).toBeGreaterThan(1);
});

it('continues as PEFT does where the choice is clear, base and adapters side by side', async () => {
  const cases = Object.entries(expected.greedy).flatMap(([who, prompts]) =>
    Object.entries(prompts).flatMap(([prompt, want]) => (want.top2_gap > 1e-2 ? [{ who, prompt, want }] : [])),
  );
  expect(cases.length).toBeGreaterThan(6);
  const answers = await model.generateBatch(
    cases.map(({ who, prompt, want }) => ({ prompt, maxTokens: want.tokens.length, temperature: 0, ignoreEos: true, ...adapterOf(who) })),
  );
  expect(answers.map(({ tokens, text }) => ({ tokens, text }))).toEqual(cases.map(({ want: { tokens, text } }) => ({ tokens, text })));
});

it('turns text into the ids of the reference tokenizer', async () => {
  for (const { text, tokens } of Object.values(expected.tokenizer)) expect((await model.score({ text })).tokens).toEqual(tokens);
});

it('streams text that adds up to the whole answer', async () => {
  const request = { prompt: 'It was a dark night, and', maxTokens: 40, temperature: 0.9, seed: 5, adapter: 'poet' };
  const whole = await model.complete(request);
  let text = '';
  const tokens: number[] = [];
  for await (const piece of model.generate(request)) {
    text += piece.text;
    tokens.push(...piece.tokens.map((t) => t.token));
  }
  expect({ text, tokens }).toEqual({ text: whole.text, tokens: whole.tokens });
});
