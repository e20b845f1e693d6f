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
Status attention_cuda(const AttentionArgs& args, CudaContext& context);
size_t attention_cuda_workspace(const AttentionArgs& args, const DeviceLimits& limits);

enum class KvWriteCacheType : int32_t { kF32, kF16, kBf16 };

// stores k[t], v[t] (f32 [tokens, heads, width]) into the paged cache at positions[t] of request[t]; a negative position is skipped; with table (f32 [tokens, rotary]) the keys are rope of k by it, rotated on their way. Page layout: see attention_layout.h
struct KvWriteArgs {
  TensorView k;
  TensorView v;
  TensorView pool;
  TensorView block_table;
  TensorView positions;
  TensorView request;
  TensorView table;  // optional
  TensorView written;  // output, in place over pool
  int64_t page_bytes;
  int64_t layer_offset;
  KvWriteCacheType cache_type;
  bool interleaved;
};
Status kv_write_cpu(const KvWriteArgs& args, CpuContext& context);
size_t kv_write_cpu_workspace(const KvWriteArgs& args, int threads);
Status kv_write_cuda(const KvWriteArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
