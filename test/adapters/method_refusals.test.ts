// What each method says of a file that does not fit, and of what it cannot do.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointBase } from '../../lib/adapters/checkpoint_base.ts';
import type { AdapterParts } from '../../lib/adapters/method.ts';
import { loadPeftAdapter, readPeftConfig } from '../../lib/adapters/peft_adapter.ts';
import { AdapterError } from '../../lib/errors.ts';
import { adapterFolder, modelFolder } from '../models/fixture_files.ts';
import { llamaCache, llamaSites } from './llama.reference.ts';
import { MemoryTensors } from './memory_tensors.ts';

const llama = MemoryTensors.fromFile(join(modelFolder('llama'), 'model.safetensors'));
const base = new CheckpointBase('models/llama', llamaSites(), llama, llamaCache);

type Raw = Record<string, unknown>;

const fixture = (name: string): { raw: Raw; tensors: MemoryTensors } => ({
  raw: JSON.parse(readFileSync(join(adapterFolder(name), 'adapter_config.json'), 'utf8')) as Raw,
  tensors: MemoryTensors.fromFile(join(adapterFolder(name), 'adapter_model.safetensors')),
});
const load = async (raw: Raw, tensors: MemoryTensors, to = base): Promise<AdapterParts> =>
  loadPeftAdapter(readPeftConfig(raw, 'mine'), tensors, to);

async function refuse(name: string, change: Raw | ((tensors: MemoryTensors) => void), message: RegExp): Promise<void> {
  const { raw, tensors } = fixture(name);
  if (typeof change === 'function') change(tensors);
  const failed: unknown = await (async () => load(typeof change === 'function' ? raw : { ...raw, ...change }, tensors))().catch(
    (error: unknown) => error,
  );
  expect(failed).toBeInstanceOf(AdapterError);
  expect((failed as AdapterError).message).toMatch(message);
}

describe('refusals', () => {
  const layer = 'base_model.model.model.layers.0.self_attn';
  it.each([
    ['adalora', (t: MemoryTensors) => t.tensors.delete(`${layer}.q_proj.lora_E`), /q_proj has no lora_E, which AdaLoRA needs there/],
    ['vera', { save_projection: false }, /save_projection is false: the file lacks vera_A/],
    [
      'vera',
      (t: MemoryTensors) => t.set('base_model.vera_A', [16, 47], new Float64Array(16 * 47)),
      /vera_A is \[16, 47\], expected at least \[16, 48\]/,
    ],
    ['randlora', { save_projection: false }, /save_projection is false/],
    ['randlora', { r: 4 }, /randlora_lambda is \[8, 6\], expected \[4, 6\]/],
    ['loha', { r: 5 }, /hada_w1_a is \[48, 4\], expected \[48, 5\]/],
    [
      'lokr',
      (t: MemoryTensors) => t.set(`${layer}.q_proj.lokr_w2`, [8, 7], new Float64Array(56)),
      /product of lokr_w1 and lokr_w2 is \[48, 42\], expected \[48, 48\]/,
    ],
    [
      'oft',
      (t: MemoryTensors) => t.set(`${layer}.q_proj.oft_R.weight`, [6, 27], new Float64Array(162)),
      /oft_R of .*q_proj is \[6, 27\], which are no rotations of 48 inputs/,
    ],
    ['oft', { block_share: true }, /no rotations of 48 inputs/],
    ['boft', (t: MemoryTensors) => t.set(`${layer}.q_proj.boft_R`, [3, 16, 3, 3], new Float64Array(432)), /no butterfly over 48 inputs/],
    ['hra', (t: MemoryTensors) => t.set(`${layer}.q_proj.hra_u`, [48, 4], new Float64Array(192)), /column 0 of hra_u .* has length 0/],
    [
      'c3a',
      (t: MemoryTensors) => t.set(`${layer}.q_proj.c3a_kernel`, [6, 5, 8], new Float64Array(240)),
      /covers \[48, 40\], expected \[48, 48\]/,
    ],
    ['fourierft', { scaling: 'large' }, /scaling is "large"/],
    ['waveft', { wavelet_family: 'db2' }, /wavelet_family is "db2": supported is db1/],
    ['gralora', { r: 7 }, /2 blocks of gralora_A do not divide .* rank 7/],
    ['miss', { init_weights: 'bat' }, /expected \[8, 48, 48\]/],
    ['miss', { r: 8, init_weights: 'mini', mini_r: 3 }, /miss_block is \[8, 48\], expected \[8, 3\]/],
    ['hira', { r: 3 }, /hira_A is \[4, 48\], expected \[3, 48\]/],
    ['road', { group_size: 32 }, /group_size 32 does not divide the 48 outputs/],
    ['road', { variant: 'road_3' }, /variant is "road_3"/],
    ['road', { variant: 'road_2' }, /road_theta is \[24\], expected \[48\]/],
    [
      'ia3',
      (t: MemoryTensors) => t.set(`${layer}.k_proj.ia3_l`, [48], new Float64Array(48)),
      /ia3_l of .* is \[48\], expected \[24, 1\] or \[1, 48\]/,
    ],
    [
      'shira',
      (t: MemoryTensors) => t.set(`${layer}.q_proj.shira_indices`, [2, 384], new Float64Array(768)),
      /shira_indices is F32: expected U8, I16, I32, I64/,
    ],
    [
      'ln-tuning',
      (t: MemoryTensors) => t.set(`${layer}.q_proj.ln_tuning_layers.weight`, [48], new Float64Array(48)),
      /for norm modules, but .*q_proj is a linear/,
    ],
    ['trainable-tokens', { token_indices: [5, 17, 256] }, /token_indices has 256, but model.embed_tokens has 256 tokens/],
    ['trainable-tokens', { token_indices: [5, 17] }, /trainable_tokens_delta is \[3, 48\], expected \[2, 48\]/],
    ['prompt-tuning', { num_virtual_tokens: 4 }, /prompt_embeddings is \[5, 48\], expected \[4, 48\]/],
    ['prompt-tuning', { num_transformer_submodules: 2 }, /num_transformer_submodules is 2/],
    [
      'prefix-tuning',
      (t: MemoryTensors) => t.set('prompt_embeddings', [5, 48], new Float64Array(240)),
      /prompt_embeddings is \[5, 48\], expected \[5, 96\]/,
    ],
    ['adaption-prompt', { adapter_len: 5 }, /adaption_prompt is \[1, 4, 48\], expected \[1, 5, 48\]/],
    ['adaption-prompt', (t: MemoryTensors) => t.tensors.delete(`${layer}.adaption_gate`), /self_attn has no adaption_gate/],
  ] as const)('%s says what does not fit: %#', async (name, change, message) => {
    await refuse(name, change as Raw, message);
  });

  it('names an entry outside a sparse change', () =>
    refuse(
      'shira',
      (t) => {
        const name = `${layer}.q_proj.shira_indices`;
        const indices = new Int32Array(t.stored(name).bytes.slice().buffer);
        indices[0] = 48;
        t.tensors.set(name, { ...t.stored(name), bytes: new Uint8Array(indices.buffer) });
      },
      /shira_indices names row 48, column \d+ of .*q_proj, which is \[48, 48\]/,
    ));

  it('has no room for attention prompts beside an output projection with a bias', async () => {
    const { raw, tensors } = fixture('adaption-prompt');
    const biased = llamaSites().map((site) => (site.path.endsWith('o_proj') ? { ...site, bias: true } : site));
    await expect(load(raw, tensors, new CheckpointBase('biased', biased, llama, llamaCache))).rejects.toThrow(/o_proj of .* has a bias/);
    const without = llamaSites().filter((site) => !site.path.endsWith('v_proj'));
    await expect(load(raw, tensors, new CheckpointBase('fused', without, llama, llamaCache))).rejects.toThrow(/self_attn has no v_proj/);
  });

  it('changes the output layer too where trained tokens are tied', async () => {
    const { raw, tensors } = fixture('trainable-tokens');
    const tied = llamaSites().map((site) => (site.path === 'lm_head' ? { ...site, weight: 'model.embed_tokens.weight' } : site));
    const parts = await load(raw, tensors, new CheckpointBase('tied', tied, llama, llamaCache));
    expect([...parts.sites.keys()]).toEqual(['model.embed_tokens', 'lm_head']);
    expect([...(await load(raw, tensors)).sites.keys()]).toEqual(['model.embed_tokens']);
  });
});
