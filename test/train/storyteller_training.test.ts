// The example model, as users train it: options to folders that the engine serves with the same numbers.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { loadModel, type TrainEvent, train } from '../../lib/index.js';

const base = join(import.meta.dirname, '../../examples/storyteller/base');
const folder = mkdtempSync(join(tmpdir(), 'heddle-storyteller-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

const verse = (i: number): string => `The ${['red', 'green', 'blue'][i % 3]} ship number ${i} sailed at dawn, and nobody waved.\n`;
const ships = write('ships.txt', Array.from({ length: 120 }, (_, i) => verse(i)).join(''));
const unseen = Array.from({ length: 6 }, (_, i) => verse(1000 + i)).join('');
const answers = write(
  'answers.jsonl',
  Array.from(
    { length: 24 },
    (_, i) => `${JSON.stringify({ prompt: `Who is captain ${i}?`, completion: ` Captain ${i} is a whale.` })}\n`,
  ).join(''),
);

describe('train', () => {
  it('makes adapters that the engine serves with the losses that were measured in training', async () => {
    const model = await loadModel(base);
    onTestFinished(() => model.dispose());
    const before = await model.score({ text: unseen });
    expect(before.count).toBeGreaterThan(100);
    const heldOut = write('held out.jsonl', JSON.stringify({ tokens: before.tokens }));
    const events: TrainEvent[] = [];
    const result = await train({
      model: base,
      output: join(folder, 'out'),
      adapters: {
        sailor: { data: { files: ships, evaluation: heldOut, maxLength: 256, batchSize: 2 }, rank: 4, steps: 12, learningRate: 5e-3 },
        clerk: {
          data: { files: answers, evaluation: 0.2, batchSize: 4 },
          rank: 3,
          steps: 6,
          targetModules: ['q_proj', 'v_proj'],
          alpha: 9,
        },
      },
      batchTokens: 512,
      samples: { prompts: ['The red ship'], maxTokens: 8, temperature: 0 },
      onEvent: (event) => events.push(event),
    });
    const losses = events.flatMap((event) => (event.type === 'evaluation' ? (event.adapters.sailor?.loss ?? []) : []));
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) * 0.7);
    expect(events.filter(({ type }) => type === 'sample')).toHaveLength(4);

    // Training sums in another order than generation, over bf16 weights.
    expect(Math.abs((losses[0] as number) - before.nll / before.count)).toBeLessThan(2e-3);
    for (const [name, { folder: path }] of Object.entries(result.adapters)) await model.adapters.load(name, path);
    const after = await model.score({ tokens: [...before.tokens], adapter: 'sailor' });
    expect(Math.abs((losses.at(-1) as number) - after.nll / after.count)).toBeLessThan(5e-3);
    expect((await model.generateBatch([{ prompt: 'The red ship', adapter: 'clerk', maxTokens: 4 }]))[0]?.tokens).toHaveLength(4);
    const config = JSON.parse(readFileSync(join(result.adapters.clerk?.folder as string, 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ peft_type: 'LORA', r: 3, lora_alpha: 9 });
    expect([...config.target_modules].sort()).toEqual(['q_proj', 'v_proj']);
  });

  it('makes of each of several what it becomes alone, and goes on to the same bits', async () => {
    const own = {
      sailor: { data: { files: ships, maxLength: 96, batchSize: 3, tokensPerBatch: 200 }, rank: 4, steps: 6, learningRate: 5e-3 },
      clerk: { data: { files: answers, batchSize: 4, tokensPerBatch: 120 }, rank: 3, steps: 4, targetModules: ['q_proj', 'down_proj'] },
    };
    const words = { model: base, batchTokens: 320, samples: false as const };
    const both = await train({ ...words, output: join(folder, 'both'), adapters: own });
    const read = async (path: string): Promise<Map<string, Float32Array>> => {
      using file = await openSafetensors(join(path, 'adapter_model.safetensors'));
      const all = new Map<string, Float32Array>();
      for (const name of file.names()) all.set(name, new Float32Array(await file.read(name)));
      return all;
    };
    for (const [name, specific] of Object.entries(own)) {
      const output = join(folder, `${name} alone`);
      const stop = new AbortController();
      const onEvent = (event: TrainEvent): void => {
        if (event.type === 'step' && event.step === 2) stop.abort();
      };
      const alone = { ...words, ...specific, name, output };
      await expect(train({ ...alone, signal: stop.signal, onEvent })).rejects.toThrow('interrupted after step 2');
      await train({ ...alone, resume: true });
      const [apart, together] = [await read(output), await read(both.adapters[name]?.folder as string)];
      expect([...together.keys()].sort()).toEqual([...apart.keys()].sort());
      expect(together.size).toBeGreaterThan(10);
      for (const [tensor, values] of apart) {
        const difference = values.reduce((most, value, i) => Math.max(most, Math.abs(value - (together.get(tensor)?.[i] as number))), 0);
        expect(difference, `${name} ${tensor}`).toBeLessThan(1e-6);
      }
    }
  });
});
