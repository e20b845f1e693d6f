// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;

enum class Op : uint16_t {
  kActivate,
  kAdd,
  kAddBias,
  kAddRmsNorm,
  kAdvance,
  kArgmax,
  kAttention,
  kCopy,
  kEmbedding,
  kGate,
  kGatherRows,
  kGroupedEmbedding,
  kGroupedLora,
  kGroupedNorm,
  kGroupedPrompt,
  kKvWrite,
  kLayerNorm,
  kLinear,
  kLogSoftmax,
  kMul,
  kReduce,
  kRmsNorm,
  kRope,
  kRopeTable,
  kSample,
  kScale,
  kSoftCap,
  kSoftmax,
  kTokenLogprob,
  kCount
};

enum class ActivateFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// y = f(x), f32; gelu is the exact erf form, gelu_tanh the tanh form
struct ActivateArgs {
  TensorView x;
  TensorView y;  // output
  ActivateFunction function;
};
Status activate_cpu(const ActivateArgs& args, CpuContext& context);

// y = a + b, equal shapes, f32
struct AddArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status add_cpu(const AddArgs& args, CpuContext& context);

// y[.., n] = x[.., n] + bias[n], f32
struct AddBiasArgs {
  TensorView x;
  TensorView bias;
  TensorView y;  // output
};
Status add_bias_cpu(const AddBiasArgs& args, CpuContext& context);

// sum = a + b; y = rms_norm(sum); shapes and attributes as rms_norm
struct AddRmsNormArgs {
  TensorView a;
  TensorView b;
  TensorView weight;  // optional
  TensorView sum;  // output
  TensorView y;  // output
  float eps;
  float weight_offset;
};
Status add_rms_norm_cpu(const AddRmsNormArgs& args, CpuContext& context);

// after sampling: appends token[r] to history, counts it, and gives the next step's token and position, or -1 where the request has ended by a stop token (state 1) or its length (state 2)
struct AdvanceArgs {
  TensorView token;
  TensorView positions;
  TensorView integers;
  TensorView history;
  TensorView history_state;
  TensorView stop_tokens;
  TensorView next_token;  // output
  TensorView next_position;  // output
  TensorView state;  // output
  TensorView running;  // output
};
Status advance_cpu(const AdvanceArgs& args, CpuContext& context);

// y[..] = index of the first maximum over the last dimension of x[.., n], f32 to i32; NaN counts as -inf
struct ArgmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status argmax_cpu(const ArgmaxArgs& args, CpuContext& context);

enum class AttentionCacheType : int32_t { kF32, kF16, kBf16 };

// y[t, h] = sum_j softmax_j(cap(scale q[t, h] . k_j)) v_j over cached positions j of request[t] with max(0, p - window + 1) <= j <= p = positions[t] (window 0: no lower bound); query heads share key heads in equal groups; cap(s) = soft_cap tanh(s / soft_cap) when soft_cap > 0; a negative position gives zeros
struct AttentionArgs {
  TensorView q;
  TensorView pool;
  TensorView block_table;
  TensorView positions;
  TensorView request;
  TensorView y;  // output
  int64_t page_bytes;
  int64_t layer_offset;
  AttentionCacheType cache_type;
  int32_t key_heads;
  float scale;
  int32_t window;
  float soft_cap;
};
Status attention_cpu(const AttentionArgs& args, CpuContext& context);
size_t attention_cpu_workspace(const AttentionArgs& args, int threads);

// y = x, any dtype, equal shapes; x may have a strided leading dimension
struct CopyArgs {
  TensorView x;
  TensorView y;  // output
};
Status copy_cpu(const CopyArgs& args, CpuContext& context);

// y[t] = weight[ids[t]] as f32; weight [vocabulary, width] f32, f16 or bf16, or the packed panels of linear with vocabulary rows; a negative id gives zeros
struct EmbeddingArgs {
  TensorView ids;
  TensorView weight;
  TensorView y;  // output
  int64_t vocabulary;
};
Status embedding_cpu(const EmbeddingArgs& args, CpuContext& context);

enum class GateFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// y = f(gate) * up, equal shapes [rows, columns], leading dimensions may be strided, f32
struct GateArgs {
  TensorView gate;
  TensorView up;
  TensorView y;  // output
  GateFunction function;
};
Status gate_cpu(const GateArgs& args, CpuContext& context);

// y[r] = x[rows[r]], any dtype; a negative row gives zeros
struct GatherRowsArgs {
  TensorView x;
  TensorView rows;
  TensorView y;  // output
};
Status gather_rows_cpu(const GatherRowsArgs& args, CpuContext& context);

// y[t] += sum_j weight[t, j] (scale B A[:, ids[t]]), or replaces by the adapter's own row ids[t]; entries as in grouped_lora
struct GroupedEmbeddingArgs {
  TensorView ids;
  TensorView base;
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView y;  // output, in place over base
  int32_t site;
};
Status grouped_embedding_cpu(const GroupedEmbeddingArgs& args, CpuContext& context);
size_t grouped_embedding_cpu_workspace(const GroupedEmbeddingArgs& args, int threads);

// y[t, columns[s] .. columns[s+1]] += sum_j weight[t, j] delta(index[t, j], site + s, x[t]) for each of the `columns` sites that share x; index -1 or an entry of kind 0 adds nothing. Entries, rows and delta: see grouped_lora_layout.h
struct GroupedLoraArgs {
  TensorView x;
  TensorView base;
  TensorView base_bias;  // optional
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView columns;
  TensorView y;  // output, in place over base
  int32_t site;
};
Status grouped_lora_cpu(const GroupedLoraArgs& args, CpuContext& context);
size_t grouped_lora_cpu_workspace(const GroupedLoraArgs& args, int threads);

enum class GroupedNormKind : int32_t { kRms, kLayer };

// y[t] = norm(x[t]) with the adapter's own weight (and bias) rows for tokens whose adapter has them at this site; other tokens keep base[t]; with k routes: base + sum_j weight (own_j - base)
struct GroupedNormArgs {
  TensorView x;
  TensorView base;
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView y;  // output, in place over base
  int32_t site;
  GroupedNormKind kind;
  float eps;
  float weight_offset;
};
Status grouped_norm_cpu(const GroupedNormArgs& args, CpuContext& context);

// y[t, h] = base[t, h] + sum_j weight[t, j] gate_j sum_i softmax_i(scale q[t, h] . k_i) v_i over the rows that the adapter of index[t, j] keeps at this site, with a softmax of their own; query heads share key heads in equal groups; q f32 [tokens, heads, width], base f32 [tokens, heads * width]; entries: see grouped_lora_layout.h
struct GroupedPromptArgs {
  TensorView q;
  TensorView base;
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView y;  // output, in place over base
  int32_t site;
  int32_t key_heads;
  float scale;
};
Status grouped_prompt_cpu(const GroupedPromptArgs& args, CpuContext& context);
size_t grouped_prompt_cpu_workspace(const GroupedPromptArgs& args, int threads);

enum class KvWriteCacheType : int32_t { kF32, kF16, kBf16 };

// stores k[t], v[t] (f32 [tokens, heads, width]) into the paged cache at positions[t] of request[t]; a negative position is skipped. Page layout: see attention_layout.h
struct KvWriteArgs {
  TensorView k;
  TensorView v;
  TensorView pool;
  TensorView block_table;
  TensorView positions;
  TensorView request;
  TensorView written;  // output, in place over pool
  int64_t page_bytes;
  int64_t layer_offset;
  KvWriteCacheType cache_type;
};
Status kv_write_cpu(const KvWriteArgs& args, CpuContext& context);

// y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension; x f32, weight and bias f32 or absent
struct LayerNormArgs {
  TensorView x;
  TensorView weight;  // optional
  TensorView bias;  // optional
  TensorView y;  // output
  float eps;
};
Status layer_norm_cpu(const LayerNormArgs& args, CpuContext& context);

enum class LinearActivation : int32_t { kFast, kPrecise };

// y[m, n] = sum_k x[m, k] W[n, k] + bias[n]; x and y f32 (rows may be strided), W packed in panels of 16 outputs: f32 or f16 as [panels, inner, 16], bf16 as [panels, inner / 2, 32] with each pair of k side by side per output (inner = k rounded up to even, zero filled)
struct LinearArgs {
  TensorView x;
  TensorView weight;
  TensorView bias;  // optional
  TensorView y;  // output
  LinearActivation activation;
};
Status linear_cpu(const LinearArgs& args, CpuContext& context);
size_t linear_cpu_workspace(const LinearArgs& args, int threads);

// y[.., i] = x_i - max x - log sum_j exp(x_j - max x) over the last dimension, f32
struct LogSoftmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status log_softmax_cpu(const LogSoftmaxArgs& args, CpuContext& context);

// y = a * b, equal shapes, f32
struct MulArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status mul_cpu(const MulArgs& args, CpuContext& context);

enum class ReduceKind : int32_t { kSum, kMean, kMax };

// y[..] = sum, mean or maximum over the last dimension of x[.., n], f32; an empty dimension gives 0, NaN, -inf
struct ReduceArgs {
  TensorView x;
  TensorView y;  // output
  ReduceKind kind;
};
Status reduce_cpu(const ReduceArgs& args, CpuContext& context);

// y = x / sqrt(mean(x^2) + eps) * (weight + weight_offset) over the last dimension; x f32, weight f32; without it the last factor is 1
struct RmsNormArgs {
  TensorView x;
  TensorView weight;  // optional
  TensorView y;  // output
  float eps;
  float weight_offset;
};
Status rms_norm_cpu(const RmsNormArgs& args, CpuContext& context);

// rotates x[t, h] by table[t]: with d = rotary / 2, (x_i, x_{i+d}) -> (x_i c_i - x_{i+d} s_i, x_{i+d} c_i + x_i s_i) for i < d; interleaved pairs (x_2i, x_2i+1) instead; channels from rotary on are copied
struct RopeArgs {
  TensorView x;
  TensorView table;
  TensorView y;  // output, in place over x
  bool interleaved;
};
Status rope_cpu(const RopeArgs& args, CpuContext& context);

// table[t] = scale * (cos(p f_i) .. | sin(p f_i) ..), p = positions[t] (a negative position reads as 0). f = frequencies, or long_frequencies where max(lengths[t], p + 1) > original_length, or, with dynamic_factor > 0 and that length n > original_length, base' ^ (-2 i / rotary) with base' = base (dynamic_factor n / original_length - dynamic_factor + 1) ^ (rotary / (rotary - 2)); angles in f64
struct RopeTableArgs {
  TensorView positions;
  TensorView frequencies;
  TensorView long_frequencies;  // optional
  TensorView lengths;  // optional
  TensorView table;  // output
  float scale;
  float long_scale;
  float dynamic_factor;
  float base;
  int32_t original_length;
};
Status rope_table_cpu(const RopeTableArgs& args, CpuContext& context);

// token[r] drawn from logits[r] after bias, penalties, temperature, top-k, top-p, min-p; greedy when temperature is 0. The exact order and the parameter columns: see sampling_layout.h
struct SampleArgs {
  TensorView logits;
  TensorView positions;
  TensorView controls;
  TensorView integers;
  TensorView history;
  TensorView history_state;
  TensorView bias_tokens;
  TensorView bias_values;
  TensorView token;  // output
  TensorView logprob;  // output
  TensorView top_tokens;  // output
  TensorView top_logprobs;  // output
};
Status sample_cpu(const SampleArgs& args, CpuContext& context);
size_t sample_cpu_workspace(const SampleArgs& args, int threads);

// y = factor * x, f32
struct ScaleArgs {
  TensorView x;
  TensorView y;  // output
  float factor;
};
Status scale_cpu(const ScaleArgs& args, CpuContext& context);

// y = cap * tanh(x / cap), f32
struct SoftCapArgs {
  TensorView x;
  TensorView y;  // output
  float cap;
};
Status soft_cap_cpu(const SoftCapArgs& args, CpuContext& context);

// y[.., i] = exp(x_i - max x) / sum_j exp(x_j - max x) over the last dimension, f32
struct SoftmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status softmax_cpu(const SoftmaxArgs& args, CpuContext& context);

// logprob[r] = log_softmax(logits[r])[target[r]]; a negative target gives 0
struct TokenLogprobArgs {
  TensorView logits;
  TensorView target;
  TensorView logprob;  // output
};
Status token_logprob_cpu(const TokenLogprobArgs& args, CpuContext& context);

}  // namespace heddle
#pragma GCC visibility pop
