// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.

export const opTableHash = '7a2e9741571a5fb5';

/** Every op: operands in order, attributes in order, and which output lies in place over which input. */
export const opTable = {
  /** y = f(x), f32; gelu is the exact erf form, gelu_tanh the tanh form */
  activate: {
    id: 0,
    family: 'elementwise',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: { function: ['relu', 'gelu', 'gelu_tanh', 'silu', 'sigmoid', 'tanh'] },
    alias: {},
    backends: ['cpu'],
  },
  /** y = a + b, equal shapes, f32 */
  add: {
    id: 1,
    family: 'elementwise',
    inputs: ['a', 'b'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y[.., n] = x[.., n] + bias[n], f32 */
  add_bias: {
    id: 2,
    family: 'elementwise',
    inputs: ['x', 'bias'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** sum = a + b; y = rms_norm(sum); shapes and attributes as rms_norm */
  add_rms_norm: {
    id: 3,
    family: 'norm',
    inputs: ['a', 'b', 'weight'],
    optional: ['weight'],
    outputs: ['sum', 'y'],
    attrs: { eps: 'f32', weightOffset: 'f32' },
    alias: {},
    backends: ['cpu'],
  },
  /** after sampling: appends token[r] to history, counts it, and gives the next step's token and position, or -1 where the request has ended by a stop token (state 1) or its length (state 2) */
  advance: {
    id: 4,
    family: 'sampling',
    inputs: ['token', 'positions', 'integers', 'history', 'historyState', 'stopTokens'],
    optional: [],
    outputs: ['nextToken', 'nextPosition', 'state', 'running'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y[..] = index of the first maximum over the last dimension of x[.., n], f32 to i32; NaN counts as -inf */
  argmax: {
    id: 5,
    family: 'reduce',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y[t, h] = sum_j softmax_j(cap(scale q[t, h] . k_j)) v_j over cached positions j of request[t] with max(0, p - window + 1) <= j <= p = positions[t] (window 0: no lower bound); query heads share key heads in equal groups; cap(s) = soft_cap tanh(s / soft_cap) when soft_cap > 0; a negative position gives zeros */
  attention: {
    id: 6,
    family: 'attention',
    inputs: ['q', 'pool', 'blockTable', 'positions', 'request'],
    optional: [],
    outputs: ['y'],
    attrs: { pageBytes: 'i64', layerOffset: 'i64', cacheType: ['f32', 'f16', 'bf16'], keyHeads: 'i32', scale: 'f32', window: 'i32', softCap: 'f32' },
    alias: {},
    backends: ['cpu'],
  },
  /** y = x, any dtype, equal shapes; x may have a strided leading dimension */
  copy: {
    id: 7,
    family: 'elementwise',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y[t] = weight[ids[t]] as f32; weight [vocabulary, width] f32, f16 or bf16, or the packed panels of linear with vocabulary rows; a negative id gives zeros */
  embedding: {
    id: 8,
    family: 'embedding',
    inputs: ['ids', 'weight'],
    optional: [],
    outputs: ['y'],
    attrs: { vocabulary: 'i64' },
    alias: {},
    backends: ['cpu'],
  },
  /** y = f(gate) * up, equal shapes [rows, columns], leading dimensions may be strided, f32 */
  gate: {
    id: 9,
    family: 'elementwise',
    inputs: ['gate', 'up'],
    optional: [],
    outputs: ['y'],
    attrs: { function: ['relu', 'gelu', 'gelu_tanh', 'silu', 'sigmoid', 'tanh'] },
    alias: {},
    backends: ['cpu'],
  },
  /** y[r] = x[rows[r]], any dtype; a negative row gives zeros */
  gather_rows: {
    id: 10,
    family: 'embedding',
    inputs: ['x', 'rows'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y[t] += sum_j weight[t, j] (scale B A[:, ids[t]]), or replaces by the adapter's own row ids[t]; entries as in grouped_lora */
  grouped_embedding: {
    id: 11,
    family: 'grouped_lora',
    inputs: ['ids', 'base', 'index', 'weight', 'entries', 'rows', 'pool'],
    optional: [],
    outputs: ['y'],
    attrs: { site: 'i32' },
    alias: { y: 'base' },
    backends: ['cpu'],
  },
  /** y[t, columns[s] .. columns[s+1]] += sum_j weight[t, j] delta(index[t, j], site + s, x[t]) for each of the `columns` sites that share x; index -1 or an entry of kind 0 adds nothing. Entries, rows and delta: see grouped_lora_layout.h */
  grouped_lora: {
    id: 12,
    family: 'grouped_lora',
    inputs: ['x', 'base', 'baseBias', 'index', 'weight', 'entries', 'rows', 'pool', 'columns'],
    optional: ['baseBias'],
    outputs: ['y'],
    attrs: { site: 'i32' },
    alias: { y: 'base' },
    backends: ['cpu'],
  },
  /** y[t] = norm(x[t]) with the adapter's own weight (and bias) rows for tokens whose adapter has them at this site; other tokens keep base[t]; with k routes: base + sum_j weight (own_j - base) */
  grouped_norm: {
    id: 13,
    family: 'grouped_lora',
    inputs: ['x', 'base', 'index', 'weight', 'entries', 'rows', 'pool'],
    optional: [],
    outputs: ['y'],
    attrs: { site: 'i32', kind: ['rms', 'layer'], eps: 'f32', weightOffset: 'f32' },
    alias: { y: 'base' },
    backends: ['cpu'],
  },
  /** y[t, h] = base[t, h] + sum_j weight[t, j] gate_j sum_i softmax_i(scale q[t, h] . k_i) v_i over the rows that the adapter of index[t, j] keeps at this site, with a softmax of their own; query heads share key heads in equal groups; q f32 [tokens, heads, width], base f32 [tokens, heads * width]; entries: see grouped_lora_layout.h */
  grouped_prompt: {
    id: 14,
    family: 'grouped_lora',
    inputs: ['q', 'base', 'index', 'weight', 'entries', 'rows', 'pool'],
    optional: [],
    outputs: ['y'],
    attrs: { site: 'i32', keyHeads: 'i32', scale: 'f32' },
    alias: { y: 'base' },
    backends: ['cpu'],
  },
  /** stores k[t], v[t] (f32 [tokens, heads, width]) into the paged cache at positions[t] of request[t]; a negative position is skipped. Page layout: see attention_layout.h */
  kv_write: {
    id: 15,
    family: 'attention',
    inputs: ['k', 'v', 'pool', 'blockTable', 'positions', 'request'],
    optional: [],
    outputs: ['written'],
    attrs: { pageBytes: 'i64', layerOffset: 'i64', cacheType: ['f32', 'f16', 'bf16'] },
    alias: { written: 'pool' },
    backends: ['cpu'],
  },
  /** y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension; x f32, weight and bias f32 or absent */
  layer_norm: {
    id: 16,
    family: 'norm',
    inputs: ['x', 'weight', 'bias'],
    optional: ['weight', 'bias'],
    outputs: ['y'],
    attrs: { eps: 'f32' },
    alias: {},
    backends: ['cpu'],
  },
  /** y[m, n] = sum_k x[m, k] W[n, k] + bias[n]; x and y f32 (rows may be strided), W packed in panels of 16 outputs: f32 or f16 as [panels, inner, 16], bf16 as [panels, inner / 2, 32] with each pair of k side by side per output (inner = k rounded up to even, zero filled) */
  linear: {
    id: 17,
    family: 'linear',
    inputs: ['x', 'weight', 'bias'],
    optional: ['bias'],
    outputs: ['y'],
    attrs: { activation: ['fast', 'precise'] },
    alias: {},
    backends: ['cpu'],
  },
  /** y[.., i] = x_i - max x - log sum_j exp(x_j - max x) over the last dimension, f32 */
  log_softmax: {
    id: 18,
    family: 'softmax',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y = a * b, equal shapes, f32 */
  mul: {
    id: 19,
    family: 'elementwise',
    inputs: ['a', 'b'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y[..] = sum, mean or maximum over the last dimension of x[.., n], f32; an empty dimension gives 0, NaN, -inf */
  reduce: {
    id: 20,
    family: 'reduce',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: { kind: ['sum', 'mean', 'max'] },
    alias: {},
    backends: ['cpu'],
  },
  /** y = x / sqrt(mean(x^2) + eps) * (weight + weight_offset) over the last dimension; x f32, weight f32; without it the last factor is 1 */
  rms_norm: {
    id: 21,
    family: 'norm',
    inputs: ['x', 'weight'],
    optional: ['weight'],
    outputs: ['y'],
    attrs: { eps: 'f32', weightOffset: 'f32' },
    alias: {},
    backends: ['cpu'],
  },
  /** rotates x[t, h] by table[t]: with d = rotary / 2, (x_i, x_{i+d}) -> (x_i c_i - x_{i+d} s_i, x_{i+d} c_i + x_i s_i) for i < d; interleaved pairs (x_2i, x_2i+1) instead; channels from rotary on are copied */
  rope: {
    id: 22,
    family: 'rope',
    inputs: ['x', 'table'],
    optional: [],
    outputs: ['y'],
    attrs: { interleaved: 'bool' },
    alias: { y: 'x' },
    backends: ['cpu'],
  },
  /** table[t] = scale * (cos(p f_i) .. | sin(p f_i) ..), p = positions[t] (a negative position reads as 0). f = frequencies, or long_frequencies where max(lengths[t], p + 1) > original_length, or, with dynamic_factor > 0 and that length n > original_length, base' ^ (-2 i / rotary) with base' = base (dynamic_factor n / original_length - dynamic_factor + 1) ^ (rotary / (rotary - 2)); angles in f64 */
  rope_table: {
    id: 23,
    family: 'rope',
    inputs: ['positions', 'frequencies', 'longFrequencies', 'lengths'],
    optional: ['longFrequencies', 'lengths'],
    outputs: ['table'],
    attrs: { scale: 'f32', longScale: 'f32', dynamicFactor: 'f32', base: 'f32', originalLength: 'i32' },
    alias: {},
    backends: ['cpu'],
  },
  /** token[r] drawn from logits[r] after bias, penalties, temperature, top-k, top-p, min-p; greedy when temperature is 0. The exact order and the parameter columns: see sampling_layout.h */
  sample: {
    id: 24,
    family: 'sampling',
    inputs: ['logits', 'positions', 'controls', 'integers', 'history', 'historyState', 'biasTokens', 'biasValues'],
    optional: [],
    outputs: ['token', 'logprob', 'topTokens', 'topLogprobs'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** y = factor * x, f32 */
  scale: {
    id: 25,
    family: 'elementwise',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: { factor: 'f32' },
    alias: {},
    backends: ['cpu'],
  },
  /** y = cap * tanh(x / cap), f32 */
  soft_cap: {
    id: 26,
    family: 'elementwise',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: { cap: 'f32' },
    alias: {},
    backends: ['cpu'],
  },
  /** y[.., i] = exp(x_i - max x) / sum_j exp(x_j - max x) over the last dimension, f32 */
  softmax: {
    id: 27,
    family: 'softmax',
    inputs: ['x'],
    optional: [],
    outputs: ['y'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
  /** logprob[r] = log_softmax(logits[r])[target[r]]; a negative target gives 0 */
  token_logprob: {
    id: 28,
    family: 'softmax',
    inputs: ['logits', 'target'],
    optional: [],
    outputs: ['logprob'],
    attrs: {},
    alias: {},
    backends: ['cpu'],
  },
} as const;

export type OpName = keyof typeof opTable;
