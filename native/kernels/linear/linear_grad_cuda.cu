#include "cuda/cuda_context.h"
#include "generated/linear_ops.h"
#include "kernels/linear/linear_checks.h"
#include "kernels/linear/linear_cuda_plan.h"
#include "kernels/matmul/matmul_f32.h"

namespace heddle {

namespace {

constexpr const char* kOp = "linear_grad";

}  // namespace

size_t linear_grad_cuda_workspace(const LinearGradArgs& args, const DeviceLimits&) {
  return linear_rounded_bytes(args.weight.dtype, args.dy.dims[0], args.dy.dims[1], linear_terms(args.activation == LinearGradActivation::kPrecise));
}

Status linear_grad_cuda(const LinearGradArgs& args, CudaContext& context) {
  HEDDLE_TRY(linear_grad_check(args));
  HEDDLE_TRY(linear_address_check(kOp, args.weight));
  const TensorView &dy = args.dy, &weight = args.weight, &dx = args.dx;
  const int64_t rows = dy.dims[0], outputs = dy.dims[1], k = dx.dims[1];
  if (rows == 0 || k == 0) return Status::success();
  if (weight.dtype == DType::kF32) {
    const MatmulProblem problem = {dy.as<float>(), weight.as<float>(), dx.as<float>(), dy.leading_stride, linear_inner(k), dx.leading_stride, 0, 0, 0,
                                   1,              rows,               k,              outputs,           false,           false};
    return matmul_f32(kOp, problem, nullptr, context);
  }
  const int terms = linear_terms(args.activation == LinearGradActivation::kPrecise);
  HEDDLE_TRY(linear_workspace_check(kOp, context.workspace_bytes, linear_rounded_bytes(weight.dtype, rows, outputs, terms)));
  const MmaProduct product = {{}, weight.dtype, weight.data, weight.dims[0] * kLinearPanel, linear_inner(k), true, nullptr, dx.as<float>(), dx.leading_stride, k};
  return linear_rounded_product(kOp, dy.as<const float>(), dy.leading_stride, rows, outputs, terms, product, context);
}

}  // namespace heddle
