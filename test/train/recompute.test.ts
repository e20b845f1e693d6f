// What recomputation is for: memory that grows slowly with depth, and gradients that do not know of it.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { uniform } from '../../lib/train/counter_random.js';
import { batchOfDocuments, type OneAdapter, trainOne } from './driving_training.ts';

const hidden = 32;
const inner = 64;
const vocabulary = 40;
const documentTokens = 16;
const depths = [4, 16, 64];
const kinds = ['none', 'cheap', 'layer'] as const;

type Recompute = (typeof kinds)[number];

async function writeModel(folder: string, layers: number): Promise<void> {
  await mkdir(folder);
  const config = {
    ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', hidden_act: 'silu', dtype: 'float32', tie_word_embeddings: false },
    ...{ hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, vocab_size: vocabulary, rms_norm_eps: 1e-6 },
    ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: hidden / 4, max_position_embeddings: 64 },
  };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const shapes = new Map<string, readonly number[]>([
    ['model.embed_tokens.weight', [vocabulary, hidden]],
    ['model.norm.weight', [hidden]],
    ['lm_head.weight', [vocabulary, hidden]],
  ]);
  for (let layer = 0; layer < layers; layer++)
    for (const [name, shape] of Object.entries({
      'self_attn.q_proj': [hidden, hidden],
      'self_attn.k_proj': [hidden / 2, hidden],
      'self_attn.v_proj': [hidden / 2, hidden],
      'self_attn.o_proj': [hidden, hidden],
      'mlp.gate_proj': [inner, hidden],
      'mlp.up_proj': [inner, hidden],
      'mlp.down_proj': [hidden, inner],
      input_layernorm: [hidden],
      post_attention_layernorm: [hidden],
    }))
      shapes.set(`model.layers.${layer}.${name}.weight`, shape);
  const tensors = [...shapes].map(([name, shape], which) => {
    const length = shape.reduce((product, size) => product * size, 1);
    const data = Float32Array.from({ length }, (_, i) =>
      shape.length === 1 ? 1 + 0.1 * uniform(1, [i, which, 0, 0]) : (uniform(1, [i, which, 0, 0]) - 0.5) / 4,
    );
    return { name, dtype: 'F32', shape, data };
  });
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}

const place = Array.from({ length: documentTokens }, (_, i) => i);
const batch = batchOfDocuments([0, 1, 2].map((document) => place.map((i) => (document * 13 + i * 7 + 3) % vocabulary)));

describe('recomputation', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'heddle-depth-'));
    for (const layers of depths) await writeModel(join(root, `${layers}`), layers);
  });
  afterAll(async () => {
    await rm(root, { recursive: true });
  });

  const trained = (layers: number, recompute: Recompute, method: string): Promise<OneAdapter> =>
    trainOne({ method, rank: 2, recompute }, [batch], join(root, `${layers}`));

  it('of layers takes memory that grows with the square root of depth or slower', async () => {
    const arenas = new Map<Recompute, number[]>();
    for (const recompute of kinds) {
      const own: number[] = [];
      for (const layers of depths) {
        using adapter = await trained(layers, recompute, 'lora');
        own.push(adapter.runner.memory.arena);
      }
      arenas.set(recompute, own);
    }
    const [shallow, middle, deep] = arenas.get('layer') as [number, number, number];
    // Four times the depth: at most twice the memory.
    expect(middle).toBeLessThanOrEqual(2 * shallow);
    expect(deep).toBeLessThanOrEqual(2 * middle);
    // Kept results grow with depth itself: without that, the above says nothing.
    const [, keptMiddle, keptDeep] = arenas.get('none') as [number, number, number];
    expect(keptDeep).toBeGreaterThan(3.5 * keptMiddle);
    const [, , cheapDeep] = arenas.get('cheap') as [number, number, number];
    expect(cheapDeep).toBeLessThan(keptDeep);
    expect(deep).toBeLessThan(cheapDeep / 4);
  });

  it.each(['lora', 'dora', 'ia3', 'bitfit', 'prefix-tuning'])('changes no bit of the gradients of %s', async (method) => {
    const found: { logprobs: Float32Array; gradients: Uint32Array }[] = [];
    for (const recompute of kinds) {
      using adapter = await trained(4, recompute, method);
      const { values, gradients } = adapter.parameters;
      const length = values.dims[0] as number;
      // Factors that begin as zeros would hide most of the graph.
      const start = new Float32Array(await values.buffer.read(values.offset, length * 4));
      await values.buffer.write(
        values.offset,
        start.map((value, i) => value + 0.05 * (uniform(2, [i, 0, 0, 0]) - 0.5)),
      );
      const { logprobs } = await adapter.runner.accumulate(batch);
      found.push({ logprobs, gradients: new Uint32Array(await gradients.buffer.read(gradients.offset, length * 4)) });
    }
    const [none, cheap, layer] = found as [(typeof found)[0], (typeof found)[0], (typeof found)[0]];
    expect(new Float32Array(none.gradients.buffer).every(Number.isFinite)).toBe(true);
    expect(none.gradients.some((bits) => bits !== 0)).toBe(true);
    expect(cheap).toEqual(none);
    expect(layer).toEqual(none);
  });
});
