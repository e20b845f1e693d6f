// Adapters whose configuration names modules that the file has no tensors for.
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

const weights = MemoryTensors.fromFile(join(modelFolder('llama'), 'model.safetensors'));
const base = new CheckpointBase('llama', llamaSites(), weights, llamaCache);

/** The adapter with some tensors left out and some options changed. */
async function load(name: string, leavesOut: RegExp, options: Readonly<Record<string, unknown>> = {}): Promise<AdapterParts> {
  const folder = adapterFolder(name);
  const config = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
  const all = MemoryTensors.fromFile(join(folder, 'adapter_model.safetensors'));
  const kept = {
    names: () => [...all.names()].filter((tensor) => !leavesOut.test(tensor)),
    info: all.info.bind(all),
    read: all.read.bind(all),
  };
  return loadPeftAdapter(readPeftConfig({ ...config, ...options }, name), kept, base);
}
const nothing = /^$/;

describe('is incomplete', () => {
  it.each([
    [
      'a module of one layer',
      'lora',
      /layers\.1\.self_attn\.q_proj/,
      {},
      /target_modules names q_proj, .* for model\.layers\.1\.self_attn\.q_proj/,
    ],
    [
      'a whole kind of module',
      'lora',
      nothing,
      { target_modules: ['q_proj', 'v_proj', 'o_proj'] },
      /target_modules names o_proj, .* for model\.layers\.0/,
    ],
    [
      'a path',
      'lora',
      /layers\.0\.self_attn\.v_proj/,
      { target_modules: ['model.layers.0.self_attn.v_proj'] },
      /names model\.layers\.0\.self_attn\.v_proj/,
    ],
    [
      'a module of a layer that is not left out',
      'lora-some-layers',
      nothing,
      { layers_to_transform: [0, 1] },
      /names (down|k)_proj, .* for model\.layers\.0/,
    ],
    ['a scale', 'ia3', /layers\.0\.mlp\.down_proj/, {}, /target_modules names down_proj/],
    ['a norm', 'ln-tuning', /model\.norm\./, {}, /target_modules names norm, .* for model\.norm/],
    [
      'a whole module',
      'lora-modules-to-save',
      /lm_head/,
      {},
      /^lora-modules-to-save is incomplete: its modules_to_save names lm_head, but its file has no tensors for lm_head$/,
    ],
  ] as const)('without %s', async (_, name, leavesOut, options, message) => {
    const made = load(name, leavesOut, options);
    await expect(made).rejects.toThrow(message);
    await expect(made).rejects.toBeInstanceOf(AdapterError);
  });
});

describe('is complete', () => {
  it.each([
    // PEFT's targets never are what modules_to_save saves, nor lie in it.
    ['a target that is saved whole', 'lora-modules-to-save', nothing, { target_modules: ['q_proj', 'v_proj', 'lm_head'] }],
    ['targets inside of what is saved', 'lora', nothing, { target_modules: ['q_proj', 'v_proj', 'up_proj'], modules_to_save: ['mlp'] }],
    ['a module that is excluded by name', 'lora', /v_proj/, { exclude_modules: ['v_proj'] }],
    ['a module that a pattern may exclude', 'lora', /v_proj/, { exclude_modules: '.*v_proj' }],
    ['a layer that is left out', 'lora', /layers\.1\./, { layers_to_transform: 0 }],
    ['layers counted by another name', 'lora', /layers\.1\./, { layers_to_transform: [0], layers_pattern: 'layers' }],
    ['what a pattern names', 'lora', /v_proj/, { target_modules: '.*_proj' }],
    [
      'modules that the base does not have',
      'lora',
      nothing,
      { target_modules: ['q_proj', 'v_proj', 'vision_proj'], modules_to_save: ['score'] },
    ],
  ] as const)('without %s', async (_, name, leavesOut, options) => {
    expect((await load(name, leavesOut, options)).sites.size).toBeGreaterThan(0);
  });
});
