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

// rotates x[t, h] by table[t]: with d = rotary / 2, (x_i, x_{i+d}) -> (x_i c_i - x_{i+d} s_i, x_{i+d} c_i + x_i s_i) for i < d; interleaved pairs (x_2i, x_2i+1) instead; channels from rotary on are copied; inverse: by the negative angle, which is also the gradient
struct RopeArgs {
  TensorView x;
  TensorView table;
  TensorView y;  // output, in place over x
  bool interleaved;
  bool inverse;
};
Status rope_cpu(const RopeArgs& args, CpuContext& context);
Status rope_cuda(const RopeArgs& args, CudaContext& context);

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
Status rope_table_cuda(const RopeTableArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
