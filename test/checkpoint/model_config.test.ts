import { describe, expect, it } from 'vitest';
import { type ModelConfig, toModelConfig } from '../../lib/checkpoint/model_config.js';
import { ModelError } from '../../lib/errors.js';

const read = (config: Record<string, unknown>): ModelConfig => toModelConfig(config, 'org/name');
const small = { hidden_size: 48, intermediate_size: 88, num_hidden_layers: 4, num_attention_heads: 4, vocab_size: 256 };
const llama = { model_type: 'llama', ...small };
const rope = (config: Record<string, unknown>) => read({ ...llama, head_dim: 16, ...config }).rope;

describe('what transformers assumes where a config is silent', () => {
  it('llama', () => {
    expect(read({ model_type: 'llama' })).toMatchObject({
      ...{ hiddenSize: 4096, intermediateSize: 11_008, layers: 32, heads: 32, keyHeads: 32, headWidth: 128, vocabularySize: 32_000 },
      ...{ maxPositions: 2048, normEps: 1e-6, activation: 'silu', tiedEmbeddings: false, attentionBias: false, mlpBias: false },
      ...{ slidingWindow: 0, attentionSoftCap: 0, finalSoftCap: 0, bosTokenId: 1, eosTokenIds: [2] },
      rope: { type: 'default', base: 10_000, partialRotaryFactor: 1 },
    });
  });

  it('mistral slides unless sliding_window is null', () => {
    const silent = read({ model_type: 'mistral', ...small, num_attention_heads: 8 });
    expect(silent).toMatchObject({ keyHeads: 8, maxPositions: 131_072, slidingWindow: 4096 });
    expect(new Set(silent.layerTypes)).toEqual(new Set(['sliding_attention']));
    const never = read({ model_type: 'mistral', ...small, num_key_value_heads: 2, sliding_window: null });
    expect(never.slidingWindow).toBe(0);
    expect(new Set(never.layerTypes)).toEqual(new Set(['full_attention']));
  });

  it('qwen slides only if use_sliding_window, and only from max_window_layers on', () => {
    for (const model_type of ['qwen2', 'qwen3']) {
      const base = { model_type, ...small, num_key_value_heads: 2, sliding_window: 16, max_window_layers: 2 };
      expect(read(base).slidingWindow).toBe(0);
      expect(read({ ...base, layer_types: Array(4).fill('sliding_attention') }).slidingWindow).toBe(0);
      const slides = read({ ...base, use_sliding_window: true });
      expect(slides.layerTypes).toEqual(['full_attention', 'full_attention', 'sliding_attention', 'sliding_attention']);
      expect(slides.slidingWindow).toBe(16);
      expect(read({ ...base, sliding_window: undefined, use_sliding_window: true }).slidingWindow).toBe(4096);
    }
    expect(read({ model_type: 'qwen2', ...small, num_key_value_heads: null }).headWidth).toBe(12);
    expect(read({ model_type: 'qwen3', ...small, num_key_value_heads: null })).toMatchObject({
      keyHeads: 4,
      headWidth: 128,
      eosTokenIds: [],
    });
  });

  it('gemma2', () => {
    const config = read({ model_type: 'gemma2', ...small });
    expect(config).toMatchObject({
      ...{ keyHeads: 4, headWidth: 256, maxPositions: 8192, activation: 'gelu_tanh', tiedEmbeddings: true, queryScalar: 256 },
      ...{ attentionSoftCap: 50, finalSoftCap: 30, slidingWindow: 4096, bosTokenId: 2, eosTokenIds: [1] },
      layerTypes: ['sliding_attention', 'full_attention', 'sliding_attention', 'full_attention'],
    });
    expect(config.slidingRope).toBeUndefined();
    // Old files carry a hidden_act that transformers does not look at.
    expect(read({ model_type: 'gemma2', ...small, hidden_act: 'gelu' }).activation).toBe('gelu_tanh');
    expect(read({ model_type: 'gemma2', ...small, hidden_activation: 'gelu' }).activation).toBe('gelu');
    expect(read({ model_type: 'gemma2', ...small, attn_logit_softcapping: null, final_logit_softcapping: null })).toMatchObject({
      attentionSoftCap: 0,
      finalSoftCap: 0,
    });
  });

  it('gemma3_text', () => {
    const config = read({ model_type: 'gemma3_text', ...small, num_hidden_layers: 7 });
    expect(config.layerTypes.map((type) => type[0]).join('')).toBe('sssssfs');
    expect(config).toMatchObject({
      ...{ headWidth: 256, maxPositions: 131_072, tiedEmbeddings: true, attentionSoftCap: 0, finalSoftCap: 0 },
      rope: { type: 'default', base: 1_000_000 },
      slidingRope: { type: 'default', base: 10_000 },
    });
    expect(read({ model_type: 'gemma3_text', ...small, sliding_window_pattern: 2 }).layerTypes[1]).toBe('full_attention');
  });

  it('phi3', () => {
    expect(read({ model_type: 'phi3', ...small })).toMatchObject({
      keyHeads: 4,
      maxPositions: 4096,
      normEps: 1e-5,
      slidingWindow: 0,
      eosTokenIds: [32_000],
    });
    expect(read({ model_type: 'phi3', ...small, sliding_window: 2047 }).slidingWindow).toBe(2047);
  });

  it('gpt2, with fields of its own', () => {
    expect(read({ model_type: 'gpt2' })).toMatchObject({
      ...{ hiddenSize: 768, intermediateSize: 3072, layers: 12, heads: 12, keyHeads: 12, headWidth: 64, vocabularySize: 50_257 },
      ...{ maxPositions: 1024, normEps: 1e-5, activation: 'gelu_tanh', tiedEmbeddings: true, bosTokenId: 50_256, eosTokenIds: [50_256] },
    });
    expect(read({ model_type: 'gpt2', n_embd: 48, n_head: 4, n_layer: 2, n_inner: 100, n_positions: 128 })).toMatchObject({
      ...{ hiddenSize: 48, intermediateSize: 100, layers: 2, heads: 4, maxPositions: 128 },
    });
  });

  it('ends of text: none, one or many', () => {
    expect(read({ ...llama, eos_token_id: null }).eosTokenIds).toEqual([]);
    expect(read({ ...llama, eos_token_id: 0 }).eosTokenIds).toEqual([0]);
    expect(read({ ...llama, eos_token_id: [128_001, 128_009] }).eosTokenIds).toEqual([128_001, 128_009]);
  });
});

describe('rope settings, old and new spelling', () => {
  const both = (scaling: Record<string, unknown>, top: Record<string, unknown> = {}) => {
    const old = rope({ rope_theta: 500_000, rope_scaling: scaling, ...top });
    expect(rope({ rope_parameters: { rope_theta: 500_000, ...scaling }, ...top })).toEqual(old);
    return old;
  };
  const common = { base: 500_000, partialRotaryFactor: 1 };

  it('default, linear, dynamic', () => {
    expect(both({ rope_type: 'default' })).toEqual({ ...common, type: 'default' });
    expect(rope({ rope_theta: 500_000, rope_scaling: null })).toEqual({ ...common, type: 'default' });
    expect(both({ type: 'linear', factor: 2 })).toEqual({ ...common, type: 'linear', factor: 2 });
    expect(both({ rope_type: 'dynamic', factor: 4 }, { max_position_embeddings: 99 })).toEqual({
      ...common,
      type: 'dynamic',
      factor: 4,
      originalMaxPositions: 99,
    });
  });

  it('llama3', () => {
    const settings = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
    expect(both(settings)).toEqual({
      ...common,
      type: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalMaxPositions: 8192,
    });
  });

  it('yarn', () => {
    const settings = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32_768 };
    expect(both(settings)).toMatchObject({ ...common, type: 'yarn', factor: 4, originalMaxPositions: 32_768, betaFast: 32, betaSlow: 1 });
    expect(both({ ...settings, beta_fast: 16, attention_factor: 1.5, truncate: false })).toMatchObject({
      betaFast: 16,
      attentionFactor: 1.5,
      truncate: false,
    });
  });

  it('longrope', () => {
    const factors = { short_factor: Array(8).fill(1), long_factor: Array(8).fill(4) };
    const top = { max_position_embeddings: 131_072, original_max_position_embeddings: 4096 };
    const settings = both({ type: 'su', ...factors }, top);
    expect(settings).toMatchObject({
      type: 'longrope',
      shortFactor: factors.short_factor,
      longFactor: factors.long_factor,
      originalMaxPositions: 4096,
    });
    expect(settings).toHaveProperty('attentionFactor', Math.sqrt(1 + Math.log(32) / Math.log(4096)));
    expect(() => both({ rope_type: 'longrope', ...factors, long_factor: [1] }, top)).toThrow(
      'long_factor is [1]: expected 8 positive numbers',
    );
  });

  it('a share of the head', () => {
    expect(both({}, { partial_rotary_factor: 0.5 }).partialRotaryFactor).toBe(0.5);
    expect(rope({ rope_parameters: { partial_rotary_factor: 0.25 } }).partialRotaryFactor).toBe(0.25);
    expect(() => rope({ rope_parameters: { partial_rotary_factor: 0.2 } })).toThrow('partial_rotary_factor is 0.2');
  });

  it('rope_scaling beside rope_parameters comes first, as in transformers', () => {
    const parameters = { rope_type: 'default', rope_theta: 5000 };
    const scaling = { type: 'linear', factor: 4 };
    // transformers 5.18: nothing of rope_parameters is left, its rope_theta neither.
    const linear = { type: 'linear', factor: 4, base: 10_000, partialRotaryFactor: 1 };
    expect(rope({ rope_parameters: parameters, rope_scaling: scaling })).toEqual(linear);
    expect(rope({ rope_parameters: parameters, rope_scaling: scaling, rope_theta: 777 })).toEqual({ ...linear, base: 777 });
    for (const none of [{}, null]) expect(rope({ rope_parameters: parameters, rope_scaling: none }).base).toBe(5000);
    expect(() => rope({ rope_parameters: parameters, rope_scaling: { type: 'foo' } })).toThrow(
      /rope_scaling\.type is "foo": expected default/,
    );
  });

  it('gemma3: rope_scaling goes over the settings of full layers', () => {
    const gemma3 = { model_type: 'gemma3_text', ...small, rope_scaling: { rope_type: 'linear', factor: 4 } };
    const full_attention = { rope_type: 'linear', factor: 8, rope_theta: 500_000 };
    const sliding_attention = { rope_type: 'default', rope_theta: 1234 };
    const both = read({ ...gemma3, rope_parameters: { full_attention, sliding_attention } });
    expect(both.rope).toEqual({ type: 'linear', factor: 4, base: 500_000, partialRotaryFactor: 1 });
    expect(both.slidingRope).toEqual({ type: 'default', base: 1234, partialRotaryFactor: 1 });
    const wrong = { ...full_attention, rope_theta: -1 };
    expect(() => read({ ...gemma3, rope_parameters: { full_attention: wrong } })).toThrow(/full_attention\.rope_theta is -1/);
    expect(() => read({ ...gemma3, rope_scaling: { factor: -1 }, rope_parameters: { full_attention } })).toThrow(
      /rope_scaling\.factor is -1/,
    );
    expect(() => read({ ...gemma3, rope_parameters: full_attention })).toThrow(
      /rope_scaling is \{"rope_type":"linear","factor":4\}: expected none beside rope_parameters without full_attention$/,
    );
  });

  it('gemma3: two kinds of layers', () => {
    const gemma3 = { model_type: 'gemma3_text', ...small };
    const old = read({ ...gemma3, rope_theta: 500_000, rope_local_base_freq: 5000, rope_scaling: { rope_type: 'linear', factor: 8 } });
    const parameters = {
      full_attention: { rope_type: 'linear', factor: 8, rope_theta: 500_000 },
      sliding_attention: { rope_type: 'default', rope_theta: 5000 },
    };
    const now = read({ ...gemma3, rope_parameters: parameters });
    expect(now.rope).toEqual(old.rope);
    expect(now.slidingRope).toEqual(old.slidingRope);
    expect(old.slidingRope).toEqual({ type: 'default', base: 5000, partialRotaryFactor: 1 });
  });
});

describe('refusals name the field, the value and what was expected', () => {
  const cases: [string, Record<string, unknown>, RegExp][] = [
    ['no model_type', {}, /^org\/name: config\.json: model_type is missing/],
    ['unknown model_type', { model_type: 'bert' }, /model_type is "bert": expected one of llama, mistral/],
    ['a name of Object', { model_type: 'constructor' }, /model_type is "constructor"/],
    ['a string for a number', { ...llama, hidden_size: '48' }, /hidden_size is "48": .*expected number/],
    ['a fraction', { ...llama, num_hidden_layers: 1.5 }, /num_hidden_layers is 1\.5/],
    ['zero', { ...llama, vocab_size: 0 }, /vocab_size is 0/],
    ['infinity', { ...llama, rms_norm_eps: Infinity }, /rms_norm_eps is Infinity: /],
    [
      'no number',
      { ...llama, rope_parameters: { rope_theta: Number.NaN } },
      /rope_parameters\.rope_theta is NaN: expected a positive number$/,
    ],
    ['minus infinity inside', { ...llama, layer_types: [-Infinity, 'Infinity'] }, /layer_types\.0 is -Infinity: /],
    ['an odd head', { ...llama, head_dim: 7 }, /config\.json: the head width \(head_dim, or .*\) is 7: expected an even number$/],
    [
      'a small share of the head',
      { ...llama, partial_rotary_factor: 0.01 },
      /config\.json: partial_rotary_factor is 0\.01: expected a share of the head width 12 that is even and not 0$/,
    ],
    ['many layers', { ...llama, num_hidden_layers: 1e9 }, /num_hidden_layers is 1000000000/],
    [
      'heads that do not divide',
      { ...llama, num_key_value_heads: 3 },
      /num_key_value_heads is 3: expected a divisor of num_attention_heads 4/,
    ],
    ['a width that does not divide', { ...llama, hidden_size: 50 }, /hidden_size is 50: expected a multiple of num_attention_heads 4/],
    ['an activation', { ...llama, hidden_act: 'mish' }, /hidden_act is "mish": expected one of relu/],
    ['layer_types', { ...llama, layer_types: ['full_attention'] }, /layer_types is \["full_attention"\]: expected 4 entries/],
    ['a kind of layer', { ...llama, layer_types: ['linear_attention'] }, /layer_types\.0 is "linear_attention"/],
    ['a rope type', { ...llama, rope_scaling: { type: 'mrope' } }, /rope_scaling\.type is "mrope": expected default, linear/],
    [
      'a rope factor',
      { ...llama, rope_parameters: { rope_type: 'linear', factor: '2' } },
      /rope_parameters\.factor is "2": expected a positive number/,
    ],
    [
      'a missing rope factor',
      { ...llama, rope_scaling: { type: 'linear' } },
      /rope_scaling\.factor is missing: expected a positive number/,
    ],
    ['a rope of the wrong kind', { ...llama, rope_scaling: [1] }, /rope_scaling is \[1\]/],
    [
      'a dynamic rope without bounds',
      { ...llama, rope_parameters: { rope_type: 'dynamic', factor: 1e308 } },
      /rope_parameters\.factor is 1e\+308: expected one that stretches max_position_embeddings 2048 to at most 2147483647$/,
    ],
    [
      'an original length that is none',
      { ...llama, rope_scaling: { type: 'yarn', factor: 2, original_max_position_embeddings: 1e308 } },
      /rope_scaling\.original_max_position_embeddings is 1e\+308: expected a whole number up to 2147483647$/,
    ],
    [
      'gpt2 scaling',
      { model_type: 'gpt2', scale_attn_by_inverse_layer_idx: true },
      /scale_attn_by_inverse_layer_idx is true: expected false/,
    ],
  ];
  it.each(cases)('%s', (_, config, message) => {
    expect(() => read(config)).toThrow(ModelError);
    expect(() => read(config)).toThrow(message);
  });

  it('a file that is no object', () => {
    for (const value of [null, 1, 'x', [llama]]) expect(() => toModelConfig(value, 'm')).toThrow(ModelError);
  });
});
