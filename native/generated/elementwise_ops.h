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

// sum = target + x, written over target; equal shapes, f32
struct AccumulateArgs {
  TensorView target;
  TensorView x;
  TensorView sum;  // output, in place over target
};
Status accumulate_cpu(const AccumulateArgs& args, CpuContext& context);
Status accumulate_cuda(const AccumulateArgs& args, CudaContext& context);

enum class ActivateFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// y = f(x), f32; gelu is the exact erf form, gelu_tanh the tanh form
struct ActivateArgs {
  TensorView x;
  TensorView y;  // output
  ActivateFunction function;
};
Status activate_cpu(const ActivateArgs& args, CpuContext& context);
Status activate_cuda(const ActivateArgs& args, CudaContext& context);

enum class ActivateGradFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// dx = dy f'(x), equal shapes, f32; f as in activate
struct ActivateGradArgs {
  TensorView x;
  TensorView dy;
  TensorView dx;  // output
  ActivateGradFunction function;
};
Status activate_grad_cpu(const ActivateGradArgs& args, CpuContext& context);
Status activate_grad_cuda(const ActivateGradArgs& args, CudaContext& context);

// y = a + b, equal shapes, f32
struct AddArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status add_cpu(const AddArgs& args, CpuContext& context);
Status add_cuda(const AddArgs& args, CudaContext& context);

// y[.., n] = x[.., n] + bias[n], f32
struct AddBiasArgs {
  TensorView x;
  TensorView bias;
  TensorView y;  // output
};
Status add_bias_cpu(const AddBiasArgs& args, CpuContext& context);
Status add_bias_cuda(const AddBiasArgs& args, CudaContext& context);

// y = x, any dtype, equal shapes; x may have a strided leading dimension
struct CopyArgs {
  TensorView x;
  TensorView y;  // output
};
Status copy_cpu(const CopyArgs& args, CpuContext& context);
Status copy_cuda(const CopyArgs& args, CudaContext& context);

// y = a / b, equal shapes, f32
struct DivideArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status divide_cpu(const DivideArgs& args, CpuContext& context);
Status divide_cuda(const DivideArgs& args, CudaContext& context);

enum class GateFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// y = f(gate) * up, equal shapes [rows, columns], leading dimensions may be strided, f32
struct GateArgs {
  TensorView gate;
  TensorView up;
  TensorView y;  // output
  GateFunction function;
};
Status gate_cpu(const GateArgs& args, CpuContext& context);
Status gate_cuda(const GateArgs& args, CudaContext& context);

enum class GateGradFunction : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// d_gate = dy up f'(gate), d_up = dy f(gate), equal shapes, f32; f as in gate
struct GateGradArgs {
  TensorView gate;
  TensorView up;
  TensorView dy;
  TensorView d_gate;  // output
  TensorView d_up;  // output
  GateGradFunction function;
};
Status gate_grad_cpu(const GateGradArgs& args, CpuContext& context);
Status gate_grad_cuda(const GateGradArgs& args, CudaContext& context);

enum class MapFunction : int32_t { kExp, kLog, kSqrt, kRsqrt, kReciprocal, kSquare, kSin, kCos, kNeg, kAbs, kSign, kStep, kComplement, kNormalCdf };

// y = f(x), f32; complement is 1 - x, step is 1 above 0 and 0 elsewhere, sign is -1, 0 or 1, normal_cdf the distribution function of the standard normal
struct MapArgs {
  TensorView x;
  TensorView y;  // output
  MapFunction function;
};
Status map_cpu(const MapArgs& args, CpuContext& context);
Status map_cuda(const MapArgs& args, CudaContext& context);

// y = a * b, equal shapes, f32
struct MulArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status mul_cpu(const MulArgs& args, CpuContext& context);
Status mul_cuda(const MulArgs& args, CudaContext& context);

// y = factor * x, f32
struct ScaleArgs {
  TensorView x;
  TensorView y;  // output
  float factor;
};
Status scale_cpu(const ScaleArgs& args, CpuContext& context);
Status scale_cuda(const ScaleArgs& args, CudaContext& context);

// y[.., n] = x[.., n] * factor[n], f32
struct ScaleColumnsArgs {
  TensorView x;
  TensorView factor;
  TensorView y;  // output
};
Status scale_columns_cpu(const ScaleColumnsArgs& args, CpuContext& context);
Status scale_columns_cuda(const ScaleColumnsArgs& args, CudaContext& context);

// y[r, ..] = x[r, ..] * factor[r], f32
struct ScaleRowsArgs {
  TensorView x;
  TensorView factor;
  TensorView y;  // output
};
Status scale_rows_cpu(const ScaleRowsArgs& args, CpuContext& context);
Status scale_rows_cuda(const ScaleRowsArgs& args, CudaContext& context);

// y = cap * tanh(x / cap), f32
struct SoftCapArgs {
  TensorView x;
  TensorView y;  // output
  float cap;
};
Status soft_cap_cpu(const SoftCapArgs& args, CpuContext& context);
Status soft_cap_cuda(const SoftCapArgs& args, CudaContext& context);

// dx = dy (1 - tanh(x / cap)^2), equal shapes, f32
struct SoftCapGradArgs {
  TensorView x;
  TensorView dy;
  TensorView dx;  // output
  float cap;
};
Status soft_cap_grad_cpu(const SoftCapGradArgs& args, CpuContext& context);
Status soft_cap_grad_cuda(const SoftCapGradArgs& args, CudaContext& context);

// y = 0, f32 of x's shape; x is not read
struct ZerosLikeArgs {
  TensorView x;
  TensorView y;  // output
};
Status zeros_like_cpu(const ZerosLikeArgs& args, CpuContext& context);
Status zeros_like_cuda(const ZerosLikeArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
