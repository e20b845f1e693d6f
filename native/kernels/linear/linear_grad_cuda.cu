#include "cuda/cuda_context.h"
#include "generated/linear_ops.h"
#include "kernels/linear/linear_checks.h"
#include "kernels/linear/linear_cuda_plan.cuh"

namespace heddle {

namespace {

constexpr const char* kOp = "linear_grad";

bool is_precise(const LinearGradArgs& args) { return args.activation == LinearGradActivation::kPrecise; }

}  // namespace

size_t linear_grad_cuda_workspace(const LinearGradArgs& args, const DeviceLimits&) {
  return linear_rounded_bytes(args.weight.dtype, args.dy.dims[0], args.dy.dims[1], is_precise(args));
}

Status linear_grad_cuda(const LinearGradArgs& args, CudaContext& context) {
  HEDDLE_TRY(linear_grad_check(args));
  HEDDLE_TRY(linear_device_weight_check(kOp, args.weight));
  const TensorView &dy = args.dy, &weight = args.weight, &dx = args.dx;
  const int64_t rows = dy.dims[0], outputs = dy.dims[1], k = dx.dims[1];
  if (rows == 0 || k == 0) return Status::success();
  if (weight.dtype == DType::kF32) return linear_f32_product(kOp, dy, weight.data, linear_inner(k), true, nullptr, dx, context);
  HEDDLE_TRY(linear_workspace_check(kOp, context.workspace_bytes, linear_rounded_bytes(weight.dtype, rows, outputs, is_precise(args))));
  const MmaProduct product = {{}, weight.dtype, weight.data, weight.dims[0] * kLinearPanel, linear_inner(k), true, nullptr, dx.as<float>(), dx.leading_stride, k};
  return linear_rounded_product(kOp, dy.as<const float>(), dy.leading_stride, rows, outputs, linear_terms(weight.dtype, rows, is_precise(args)), product, context);
}

}  // namespace heddle
