import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointBase } from '../../lib/adapters/checkpoint_base.ts';
import type { AdapterParts } from '../../lib/adapters/method.ts';
import { inspectPeftAdapter, loadPeftAdapter, readPeftConfig } from '../../lib/adapters/peft_adapter.ts';
import { AdapterError } from '../../lib/errors.ts';
import { toBits } from '../kernels/numbers.ts';
import { peftAdapters } from '../models/fixture_files.ts';
import { llamaCache, llamaLogits, llamaSites } from './llama.reference.ts';
import { MemoryTensors } from './memory_tensors.ts';

const fixtures = join(import.meta.dirname, '../fixtures');
const llama = MemoryTensors.fromFile(join(fixtures, 'models/llama/model.safetensors'));
const base = new CheckpointBase('models/llama', llamaSites(), llama, llamaCache);

type Raw = Record<string, unknown>;

function fixture(name: string): { raw: Raw; tensors: MemoryTensors } {
  const folder = join(fixtures, 'adapters', name);
  return {
    raw: JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as Raw,
    tensors: MemoryTensors.fromFile(join(folder, 'adapter_model.safetensors')),
  };
}

const load = async (raw: Raw, tensors: MemoryTensors, to = base): Promise<AdapterParts> =>
  loadPeftAdapter(readPeftConfig(raw, 'mine'), tensors, to);
const loadFixture = async (name: string, change: Raw = {}): Promise<AdapterParts> => {
  const { raw, tensors } = fixture(name);
  return load({ ...raw, ...change }, tensors);
};

function difference(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  return Math.max(...a.map((row, t) => Math.max(...row.map((x, n) => Math.abs(x - ((b[t] as Float64Array)[n] as number))))));
}

const prompt = [5, 17, 99, 200, 3, 42];
const logitsWith = (parts: AdapterParts | undefined): Float64Array[] => llamaLogits(llama, prompt, parts);

// PEFT decomposes PiSSA's weights in float32; the others' weights are large, so that rounding them to float32 is seen.
const loose: Readonly<Record<string, number>> = { 'lora-pissa': 3e-5, randlora: 1e-4, waveft: 2e-5 };

describe('the numbers that PEFT gives', () => {
  for (const name of peftAdapters)
    it(name, async () => {
      const expected = MemoryTensors.fromFile(join(fixtures, 'adapters', name, 'expected.safetensors'));
      const parts = await loadFixture(name);
      const ids = expected.values('input_ids');
      const logits = expected.values('logits');
      const [rows, length] = expected.stored('input_ids').shape as [number, number];
      // Positions of an adapter's own may come before the tokens.
      const positions = expected.stored('logits').shape[1] as number;
      const from = (row: number): number => (row + 1) * positions - length;
      for (let row = 0; row < rows; row++) {
        const got = llamaLogits(llama, Array.from(ids.subarray(row * length, (row + 1) * length)), parts);
        const want = got.map((_, t) => logits.subarray((from(row) + t) * 256, (from(row) + t + 1) * 256));
        expect(difference(got, want)).toBeLessThan(loose[name] ?? 5e-6);
      }
    });
});

describe('names', () => {
  it('takes tensors with the name of the adapter and without the usual prefix', async () => {
    const { raw, tensors } = fixture('lora-dora');
    const plain = logitsWith(await load(raw, tensors));
    const renamed = tensors.copy();
    for (const name of tensors.names())
      renamed.rename(
        name,
        name
          .replace('base_model.model.', '')
          .replace(/\.weight$/, '.ranking.weight')
          .replace(/magnitude_vector$/, 'magnitude_vector.ranking.weight'),
      );
    expect(difference(logitsWith(await load(raw, renamed)), plain)).toBe(0);
  });

  it('takes saved modules with the names of their wrapper', async () => {
    const { raw, tensors } = fixture('lora-modules-to-save');
    const plain = logitsWith(await load(raw, tensors));
    const renamed = tensors.copy();
    for (const name of tensors.names())
      if (!name.includes('lora_')) renamed.rename(name, name.replace(/\.weight$/, '.modules_to_save.default.weight'));
    expect(difference(logitsWith(await load(raw, renamed)), plain)).toBe(0);
  });

  it('refuses two adapters in one file', async () => {
    const { raw, tensors } = fixture('lora');
    tensors.rename(
      'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight',
      'base_model.model.model.layers.0.self_attn.q_proj.lora_A.first.weight',
    );
    tensors.rename(
      'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight',
      'base_model.model.model.layers.0.self_attn.q_proj.lora_B.second.weight',
    );
    await expect(load(raw, tensors)).rejects.toThrow(/'second'.*'first'/);
  });

  it('finds modules of a bare checkpoint by the path without its first part', async () => {
    const bare = new CheckpointBase(
      'bare',
      llamaSites().map((site) => ({ ...site, path: site.path.replace(/^model\./, '') })),
      llama,
      llamaCache,
    );
    const { raw, tensors } = fixture('lora');
    expect([...(await load(raw, tensors, bare)).sites.keys()]).toContain('layers.0.self_attn.q_proj');
  });
});

describe('scales', () => {
  const scaleOf = async (change: Raw, path = 'model.layers.0.self_attn.q_proj'): Promise<number> =>
    (await loadFixture('lora', change)).sites.get(path)?.scale ?? Number.NaN;

  it('tells alpha / r from alpha / √r', async () => {
    expect(await scaleOf({})).toBe(2);
    expect(await scaleOf({ use_rslora: true })).toBeCloseTo(16 / Math.sqrt(8), 12);
    expect(await scaleOf({ lora_alpha: 3 })).toBe(3 / 8);
  });

  it('matches patterns as PEFT does: the end of the path, from a dot or the start, first key first', async () => {
    expect(await scaleOf({ alpha_pattern: { q_proj: 4 } })).toBe(0.5);
    expect(await scaleOf({ alpha_pattern: { proj: 4 } })).toBe(2);
    expect(await scaleOf({ alpha_pattern: { '.*_proj': 4, q_proj: 8 } })).toBe(0.5);
    expect(await scaleOf({ alpha_pattern: { 'layers.0.self_attn.q_proj': 4 } })).toBe(0.5);
    expect(await scaleOf({ alpha_pattern: { 'layers.1.self_attn.q_proj': 4 } })).toBe(2);
    expect(await scaleOf({ alpha_pattern: { '^model.layers.0.self_attn.q_proj': 4 } })).toBe(0.5);
    expect(await scaleOf({ alpha_pattern: { '(?P<which>q|k)_proj': 4 } })).toBe(0.5);
  });

  it.each<[Raw, RegExp]>([
    [{ lora_alpha: Number.POSITIVE_INFINITY }, /: lora_alpha is Infinity: /],
    [{ lora_alpha: Number.NaN }, /: lora_alpha is NaN: /],
    [{ alpha_pattern: { q_proj: 'x' } }, /: alpha_pattern\.q_proj is "x": /],
    [{ r: undefined }, /: r is missing: /],
    [{ modules_to_save: [-Infinity] }, /: modules_to_save is \[-Infinity\]: /],
  ])('refuses %o with the value that is wrong', async (change, message) => {
    await expect(loadFixture('lora', change)).rejects.toThrow(message);
  });

  it('does not hang on a hostile pattern', async () => {
    expect(await scaleOf({ alpha_pattern: { '(([a-z_.0-9])+)+!': 4 } })).toBe(2);
    await expect(scaleOf({ alpha_pattern: { '(': 4 } })).rejects.toThrow(
      /alpha_pattern has the key '\(', which cannot be used: a group is not closed/,
    );
  });
});

describe('copies of base weights', () => {
  it('costs nothing where they equal the base', async () => {
    const parts = await loadFixture('lora-embeddings-head');
    expect(parts.sites.get('lm_head')?.kind).toBe('lowRank');
    expect(parts.sites.get('model.embed_tokens')?.kind).toBe('lowRank');
  });

  it('takes the place of the base where they differ, factors included', async () => {
    const { raw, tensors } = fixture('lora-embeddings-head');
    const changed = llama.copy();
    for (const [mine, theirs] of [
      ['base_model.model.lm_head.base_layer.weight', 'lm_head.weight'],
      ['base_model.model.model.embed_tokens.base_layer.weight', 'model.embed_tokens.weight'],
    ] as const) {
      const values = llama.values(theirs).map((x, i) => x + 0.1 * Math.sin(i));
      tensors.set(mine, [256, 48], values);
      changed.set(theirs, [256, 48], values);
    }
    const parts = await load(raw, tensors);
    expect(parts.sites.get('lm_head')?.kind).toBe('dense');
    const onChangedBase = await load(raw, tensors, new CheckpointBase('changed', llamaSites(), changed, llamaCache));
    expect(onChangedBase.sites.get('lm_head')?.kind).toBe('lowRank');
    expect(difference(logitsWith(parts), llamaLogits(changed, prompt, onChangedBase))).toBeLessThan(1e-6);
  });

  it('changes every module that is tied to the weight', async () => {
    const { raw, tensors } = fixture('lora');
    tensors.set(
      'base_model.model.model.embed_tokens.weight',
      [256, 48],
      llama.values('model.embed_tokens.weight').map((x) => x + 1),
    );
    const tied = new CheckpointBase(
      'tied',
      llamaSites().map((site) => (site.path === 'lm_head' ? { ...site, weight: 'model.embed_tokens.weight' } : site)),
      llama,
      llamaCache,
    );
    expect([...(await load(raw, tensors, tied)).sites.keys()]).toEqual(expect.arrayContaining(['lm_head', 'model.embed_tokens']));
    expect((await load({ ...raw, modules_to_save: ['embed_tokens'] }, tensors, tied)).sites.has('lm_head')).toBe(false);
  });
});

describe('other layouts', () => {
  it('reads 16-bit factors as they are', async () => {
    const { raw, tensors } = fixture('lora');
    const rounded = tensors.copy();
    for (const name of tensors.names())
      rounded.setBits(name, 'BF16', tensors.stored(name).shape, toBits('bf16', tensors.values(name)) as Uint16Array);
    const parts = await load(raw, rounded);
    expect(parts.sites.get('model.layers.0.self_attn.q_proj')?.dtype).toBe('bf16');
    expect(difference(logitsWith(parts), logitsWith(await load(raw, tensors)))).toBeLessThan(0.1);
  });

  it('reads a saved weight that the base stores as [inputs, outputs]', async () => {
    const sites = llamaSites().map((site) => (site.path.endsWith('down_proj') ? { ...site, transposed: true, bias: true } : site));
    const turned = new MemoryTensors();
    const path = 'model.layers.0.mlp.down_proj';
    turned.set(`${path}.weight`, [88, 48], new Float64Array(88 * 48)).set(`${path}.bias`, [48], new Float64Array(48).fill(0.25));
    const adapter = new MemoryTensors();
    adapter
      .set(
        `base_model.model.${path}.weight`,
        [88, 48],
        Float64Array.from({ length: 88 * 48 }, (_, i) => i),
      )
      .set(`base_model.model.${path}.bias`, [48], new Float64Array(48).fill(1));
    const parts = await load(
      { peft_type: 'LORA', r: 4, modules_to_save: ['layers.0.mlp.down_proj'] },
      adapter,
      new CheckpointBase('turned', sites, turned, llamaCache),
    );
    const site = parts.sites.get(path);
    expect(site).toMatchObject({ kind: 'dense', rank: 48, a: { count: 48, width: 88 } });
    expect(site?.a.data[1]).toBe(48);
    expect(site?.shift?.[0]).toBe(0.75);
  });

  it('takes the orthonormalised first columns out of the base for OLoRA', async () => {
    const parts = await loadFixture('lora-pissa', { init_lora_weights: 'olora' });
    const site = parts.sites.get('model.layers.0.self_attn.q_proj');
    expect(site?.rank).toBe(8);
    // What is taken out agrees with the weight in its first columns: they are in the span.
    const [a, b] = [site?.a.data as Float32Array, site?.bT?.data as Float32Array];
    const weight = llama.values('model.layers.0.self_attn.q_proj.weight');
    for (const [output, input] of [
      [0, 0],
      [7, 3],
      [47, 2],
    ] as const) {
      let taken = 0;
      for (let j = 4; j < 8; j++) taken -= (b[j * 48 + output] as number) * (a[j * 48 + input] as number);
      expect(taken).toBeCloseTo(weight[output * 48 + input] as number, 5);
    }
  });
});

describe('content hash', () => {
  it('changes with tensors and with options that change results, not with the rest', async () => {
    const first = (await loadFixture('lora')).contentHash;
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect((await loadFixture('lora', { lora_dropout: 0.3, task_type: 'CAUSAL_LM' })).contentHash).toBe(first);
    expect((await loadFixture('lora', { lora_alpha: 17 })).contentHash).not.toBe(first);
    expect((await loadFixture('lora', { use_rslora: true })).contentHash).not.toBe(first);
    const { raw, tensors } = fixture('lora');
    const name = tensors.names()[0] as string;
    const values = tensors.values(name);
    values[0] = (values[0] as number) + 1;
    expect((await load(raw, tensors.set(name, tensors.stored(name).shape, values))).contentHash).not.toBe(first);
  });
});

describe('inspect', () => {
  const inspect = (name: string) => {
    const { raw, tensors } = fixture(name);
    return inspectPeftAdapter(readPeftConfig(raw, name), tensors);
  };
  it('says what an adapter is', () => {
    expect(inspect('lora')).toEqual({
      kind: 'LoRA',
      ranks: [8],
      scales: [2],
      targets: ['q_proj', 'v_proj'],
      modules: 4,
      savedModules: [],
      parameters: 2688,
      bytes: 10_752,
      base: 'models/llama',
    });
    expect(inspect('lora-patterns')).toMatchObject({ ranks: [1, 4, 12], scales: [8 / 12, 2, 8] });
    expect(inspect('lora-rslora').kind).toBe('rsLoRA');
    expect(inspect('lora-dora').kind).toBe('DoRA');
    expect(inspect('lora-modules-to-save').savedModules).toContain('lm_head');
  });
});

describe('refusals', () => {
  const q = 'base_model.model.model.layers.0.self_attn.q_proj';
  const refuse = async (
    change: Raw | ((tensors: MemoryTensors) => void),
    message: RegExp,
    details: Raw = {},
    name = 'lora',
  ): Promise<void> => {
    const { raw, tensors } = fixture(name);
    if (typeof change === 'function') change(tensors);
    const failed: unknown = await (async () => load(typeof change === 'function' ? raw : { ...raw, ...change }, tensors))().catch(
      (error: unknown) => error,
    );
    expect(failed).toBeInstanceOf(AdapterError);
    expect((failed as AdapterError).message).toMatch(message);
    expect((failed as AdapterError).details).toMatchObject(details);
  };

  it('names the first tensor that does not fit, both shapes and the base', () =>
    refuse((t) => t.set(`${q}.lora_A.weight`, [8, 47], new Float64Array(8 * 47)), /q_proj.lora_A.weight is \[8, 47\], expected \[8, 48\]/, {
      tensor: `${q}.lora_A.weight`,
      actual: [8, 47],
      expected: [8, 48],
      base: 'models/llama',
    }));
  it('checks the rank against the configuration', () =>
    refuse({ r: 4 }, /lora_A.weight is \[8, 48\], expected \[4, 48\]/, { expected: [4, 48] }));
  it('wants both factors', () => refuse((t) => t.tensors.delete(`${q}.lora_B.weight`), /q_proj has no lora_B/));
  it('wants magnitudes for DoRA', () => refuse({ use_dora: true }, /no lora_magnitude_vector, which DoRA needs/));
  it('does not ignore magnitudes', () => refuse({ use_dora: false }, /lora_magnitude_vector has no place in LoRA/, {}, 'lora-dora'));
  it('does not ignore a bias of B', () => refuse({ lora_bias: false }, /lora_B.bias has no place/, {}, 'lora-bias'));
  it('names a module that the base lacks', () =>
    refuse(
      (t) => t.rename(`${q}.lora_A.weight`, 'base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight'),
      /does not fit models\/llama: .*layers\.7/,
      { base: 'models/llama' },
    ));
  it('names a tensor of another method', () =>
    refuse((t) => t.set(`${q}.vera_lambda_b`, [48], new Float64Array(48)), /vera_lambda_b is no tensor of a LORA adapter/));
  it('names a saved weight of another shape', () =>
    refuse(
      (t) => t.set('base_model.model.lm_head.weight', [257, 48], new Float64Array(257 * 48)),
      /lm_head.weight is \[257, 48\], expected \[256, 48\]/,
      {},
      'lora-modules-to-save',
    ));
  it('names a bias for a module without one', () =>
    refuse((t) => t.set(`${q}.base_layer.bias`, [48], new Float64Array(48)), /q_proj has none/));
  it('names a factor on a norm', () =>
    refuse(
      (t) => t.rename(`${q}.lora_A.weight`, 'base_model.model.model.norm.lora_A.weight').tensors.delete(`${q}.lora_B.weight`),
      /model.norm is a norm/,
    ));
  it('names a dtype that it cannot read', () =>
    refuse(
      (t) => t.tensors.set(`${q}.lora_A.weight`, { ...t.stored(`${q}.lora_A.weight`), dtype: 'F64' }),
      /lora_A.weight is F64: expected F32, F16 or BF16/,
    ));
  it('refuses the same tensor under two names', () =>
    refuse((t) => t.set(`${q}.lora_A.default.weight`, [8, 48], new Float64Array(8 * 48)), /same tensor under two names/));
  it('lists the methods it knows', () => refuse({ peft_type: 'POLY' }, /peft_type is "POLY": supported are LORA/));
  it('refuses a file without tensors', () => refuse((t) => t.tensors.clear(), /holds no tensors/));

  for (const [option, value] of Object.entries({
    alora_invocation_tokens: [1, 2],
    arrow_config: { top_k: 2 },
    kasa_config: { beta: 1 },
    layer_replication: [[0, 2]],
    monteclora_config: { num_samples: 2 },
    target_parameters: ['experts.gate'],
    trainable_token_indices: [3],
    use_bdlora: { nblocks: 2 },
    use_qalora: true,
    use_something_new: true,
    init_lora_weights: 'corda',
  }))
    it(`names the option ${option}`, () => refuse({ [option]: value }, new RegExp(option), { option }));

  it('names an option of the wrong type', async () => {
    await refuse({ r: 'eight' }, /r is "eight"/, { option: 'r' });
    await refuse({ rank_pattern: { q_proj: 0 } }, /rank_pattern.q_proj/);
    await refuse({ modules_to_save: 'lm_head' }, /modules_to_save/);
    await refuse({ lora_bias: true, use_dora: true }, /lora_bias/);
  });
});
