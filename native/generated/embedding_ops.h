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

// y[t] = weight[ids[t]] as f32; weight [vocabulary, width] f32, f16 or bf16, or as linear packs it, with vocabulary rows; a negative id gives zeros
struct EmbeddingArgs {
  TensorView ids;
  TensorView weight;
  TensorView y;  // output
  int64_t vocabulary;
};
Status embedding_cpu(const EmbeddingArgs& args, CpuContext& context);
Status embedding_cuda(const EmbeddingArgs& args, CudaContext& context);

// y[r] = x[rows[r]], any dtype; a negative row gives zeros
struct GatherRowsArgs {
  TensorView x;
  TensorView rows;
  TensorView y;  // output
};
Status gather_rows_cpu(const GatherRowsArgs& args, CpuContext& context);
Status gather_rows_cuda(const GatherRowsArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
