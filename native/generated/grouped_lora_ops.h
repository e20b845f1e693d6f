// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;
struct CudaContext;
struct DeviceLimits;

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
Status grouped_embedding_cuda(const GroupedEmbeddingArgs& args, CudaContext& context);

// adds to gradients, laid out as in grouped_lora_grad_factors, what every adapter's f32 rows get from its own tokens: B^T += sum_t weight scale A[:, ids[t]] dy[t]^T, A[:, ids[t]] += weight scale (B^T dy[t]), or the adapter's own row ids[t] += weight dy[t]; shift += sum_t weight dy[t]; a negative id is no token
struct GroupedEmbeddingGradFactorsArgs {
  TensorView ids;
  TensorView dy;
  TensorView gradients;
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView accumulated;  // output, in place over gradients
  int32_t site;
};
Status grouped_embedding_grad_factors_cpu(const GroupedEmbeddingGradFactorsArgs& args, CpuContext& context);
size_t grouped_embedding_grad_factors_cpu_workspace(const GroupedEmbeddingGradFactorsArgs& args, int threads);
Status grouped_embedding_grad_factors_cuda(const GroupedEmbeddingGradFactorsArgs& args, CudaContext& context);
size_t grouped_embedding_grad_factors_cuda_workspace(const GroupedEmbeddingGradFactorsArgs& args, const DeviceLimits& limits);

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
Status grouped_lora_cuda(const GroupedLoraArgs& args, CudaContext& context);
size_t grouped_lora_cuda_workspace(const GroupedLoraArgs& args, const DeviceLimits& limits);

// adds to gradients, f32 and laid out as the pool, what every adapter's f32 rows get from its own tokens: A += sum_t weight scale (B^T dy[t]) x[t]^T, B^T += sum_t weight scale (A x[t]) dy[t]^T, shift += sum_t weight dy[t], for each of the `columns` sites that share x; a row at byte a of pool has its gradient at element a / 4
struct GroupedLoraGradFactorsArgs {
  TensorView x;
  TensorView dy;
  TensorView gradients;
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView columns;
  TensorView accumulated;  // output, in place over gradients
  int32_t site;
};
Status grouped_lora_grad_factors_cpu(const GroupedLoraGradFactorsArgs& args, CpuContext& context);
size_t grouped_lora_grad_factors_cpu_workspace(const GroupedLoraGradFactorsArgs& args, int threads);
Status grouped_lora_grad_factors_cuda(const GroupedLoraGradFactorsArgs& args, CudaContext& context);
size_t grouped_lora_grad_factors_cuda_workspace(const GroupedLoraGradFactorsArgs& args, const DeviceLimits& limits);

// dweight[t, j] = base[t, j] + sum_s dy[t, columns[s] .. columns[s+1]] . (scale B (A x[t]) + shift), the gradient of grouped_lora to the weight of a route added to base
struct GroupedLoraGradWeightArgs {
  TensorView x;
  TensorView dy;
  TensorView base;
  TensorView index;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView columns;
  TensorView dweight;  // output, in place over base
  int32_t site;
};
Status grouped_lora_grad_weight_cpu(const GroupedLoraGradWeightArgs& args, CpuContext& context);
size_t grouped_lora_grad_weight_cpu_workspace(const GroupedLoraGradWeightArgs& args, int threads);
Status grouped_lora_grad_weight_cuda(const GroupedLoraGradWeightArgs& args, CudaContext& context);
size_t grouped_lora_grad_weight_cuda_workspace(const GroupedLoraGradWeightArgs& args, const DeviceLimits& limits);

// dx[t] = base[t] + sum_s sum_j weight[t, j] scale A^T (B^T dy[t, columns[s] .. columns[s+1]]), the gradient of grouped_lora to x added to base; low-rank entries without gain only
struct GroupedLoraGradXArgs {
  TensorView dy;
  TensorView base;
  TensorView index;
  TensorView weight;
  TensorView entries;
  TensorView rows;
  TensorView pool;
  TensorView columns;
  TensorView dx;  // output, in place over base
  int32_t site;
};
Status grouped_lora_grad_x_cpu(const GroupedLoraGradXArgs& args, CpuContext& context);
size_t grouped_lora_grad_x_cpu_workspace(const GroupedLoraGradXArgs& args, int threads);
Status grouped_lora_grad_x_cuda(const GroupedLoraGradXArgs& args, CudaContext& context);
size_t grouped_lora_grad_x_cuda_workspace(const GroupedLoraGradXArgs& args, const DeviceLimits& limits);

enum class GroupedNormKind : int32_t { kRms, kLayer };

// y[t] = norm(x[t]), or norm(x[t, h]) of every head h, with the adapter's own weight (and bias) rows for tokens whose adapter has them at this site; other tokens keep base[t]; with k routes: base + sum_j weight (own_j - base)
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
Status grouped_norm_cuda(const GroupedNormArgs& args, CudaContext& context);

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
Status grouped_prompt_cuda(const GroupedPromptArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
