// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;

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

}  // namespace heddle
#pragma GCC visibility pop
