// What PEFT wants to find in a folder, beyond the numbers; test/peers asks PEFT itself.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { OptionError } from '../../lib/errors.js';
import { saveTrainedAdapter } from '../../lib/train/model_backend.js';
import type { TrainOptions } from '../../lib/train/options.js';
import { batchOfDocuments, fixtureModel, tinyLlama, trainOne } from './driving_training.js';

const batch = batchOfDocuments([[3, 4, 5, 6]]);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-saved-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function saved(
  options: Omit<TrainOptions, 'model' | 'output' | 'data'>,
  model = tinyLlama,
): Promise<{ config: Record<string, unknown>; names: string[] }> {
  using own = await trainOne(options, [batch], model);
  await saveTrainedAdapter(own.runner, 'own', folder, { base: 'org/base' });
  const file = await openSafetensors(join(folder, 'adapter_model.safetensors'));
  const names = [...file.names()].sort();
  file.dispose();
  return { config: JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>, names };
}

describe('a saved folder', () => {
  it.each(['lora', 'lora-fa', 'dora', 'dylora', 'lora-xs', 'lora-sb', 'bitfit', 'ia3'])('of %s says how weights lie', async (method) => {
    const own = { method, rank: 2 };
    expect((await saved(own)).config.fan_in_fan_out).toBe(false);
    expect((await saved(own, fixtureModel('gpt2'))).config.fan_in_fan_out).toBe(true);
  });

  it('of a task and a base that AutoPeftModelForCausalLM takes', async () => {
    const methods = ['lora', 'ia3', 'bitfit', 'ln-tuning', 'shira', 'prompt-tuning', 'prefix-tuning'];
    for (const method of methods)
      expect((await saved({ method, rank: 2 })).config).toMatchObject({ task_type: 'CAUSAL_LM', base_model_name_or_path: 'org/base' });
  });

  it('has rows of tokens for each module that is tied to the embedding, and no option that PEFT does not know', async () => {
    const own = { method: 'trainable-tokens', methodOptions: { tokens: [3, 7] } };
    const { config, names } = await saved(own, fixtureModel('llama3-rope-tied'));
    expect(names).toEqual([
      'base_model.model.lm_head.trainable_tokens_delta',
      'base_model.model.model.embed_tokens.trainable_tokens_delta',
    ]);
    expect(config).not.toHaveProperty('modules_to_save');
    expect((await saved(own)).names).toEqual(['base_model.model.model.embed_tokens.trainable_tokens_delta']);
  });

  it('is not made of modules that PEFT refuses: shira over weights stored as [inputs, outputs]', async () => {
    const attempt = trainOne({ method: 'shira', rank: 2 }, [batch], fixtureModel('gpt2'));
    await expect(attempt).rejects.toThrow(OptionError);
    await expect(attempt).rejects.toThrow(
      /targetModules names transformer\.h\.0\.attn\.c_attn, whose weight .* has as \[inputs, outputs\]/,
    );
  });
});
