// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;

// sum = target + x, written over target; equal shapes, f32
struct AccumulateArgs {
  TensorView target;
  TensorView x;
  TensorView sum;  // output, in place over target
};
Status accumulate_cpu(const AccumulateArgs& args, CpuContext& context);

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

// y = x, any dtype, equal shapes; x may have a strided leading dimension
struct CopyArgs {
  TensorView x;
  TensorView y;  // output
};
Status copy_cpu(const CopyArgs& args, CpuContext& context);

enum class GateFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// y = f(gate) * up, equal shapes [rows, columns], leading dimensions may be strided, f32
struct GateArgs {
  TensorView gate;
  TensorView up;
  TensorView y;  // output
  GateFunction function;
};
Status gate_cpu(const GateArgs& args, CpuContext& context);

// y = a * b, equal shapes, f32
struct MulArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status mul_cpu(const MulArgs& args, CpuContext& context);

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

// y = 0, f32 of x's shape; x is not read
struct ZerosLikeArgs {
  TensorView x;
  TensorView y;  // output
};
Status zeros_like_cpu(const ZerosLikeArgs& args, CpuContext& context);

}  // namespace heddle
#pragma GCC visibility pop
