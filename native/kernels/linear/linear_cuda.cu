#include <algorithm>

#include "cuda/cuda_context.h"
#include "generated/linear_ops.h"
#include "kernels/linear/linear_checks.h"
#include "kernels/linear/linear_cuda_plan.h"
#include "kernels/linear/linear_stream.h"
#include "kernels/matmul/matmul_f32.h"

namespace heddle {

namespace {

constexpr const char* kOp = "linear";

// f16 always keeps 22 bits of x where the weight's bytes are what the time goes into.
int stream_terms(DType dtype, bool precise) { return dtype == DType::kF16 ? 2 : linear_terms(precise); }

size_t workspace(DType dtype, int64_t rows, int64_t k, bool precise) {
  return std::max(linear_rounded_bytes(dtype, rows, k, linear_terms(precise)),
                  linear_rounded_bytes(dtype, std::min(rows, kStreamRows), k, stream_terms(dtype, precise)));
}

Status stream(const LinearArgs& args, bool precise, const CudaContext& context) {
  const DType dtype = args.weight.dtype;
  const int64_t rows = args.x.dims[0], k = args.x.dims[1];
  StreamProduct product = {};
  product.x = args.x.as<const float>();
  product.x_stride = args.x.leading_stride;
  product.k = k;
  product.dtype = dtype;
  product.weight = args.weight.data;
  product.weight_rows = args.weight.dims[0] * kLinearPanel;
  product.inner = linear_inner(k);
  product.bias = args.bias.as<const float>();
  product.y = args.y.as<float>();
  product.y_stride = args.y.leading_stride;
  product.rows = rows;
  product.columns = args.y.dims[1];
  const int terms = stream_terms(dtype, precise);
  if (dtype == DType::kF16 || (dtype == DType::kBF16 && rows > kStreamDirectRows))
    HEDDLE_TRY(linear_round_rows(kOp, dtype, product.x, product.x_stride, rows, k, terms, RoundedBlock::of(rows, k, terms), context, &product.left));
  product.left.count = terms;
  return linear_stream(kOp, product, context);
}

}  // namespace

size_t linear_cuda_workspace(const LinearArgs& args, const DeviceLimits&) {
  return workspace(args.weight.dtype, args.x.dims[0], args.x.dims[1], args.activation == LinearActivation::kPrecise);
}

Status linear_cuda(const LinearArgs& args, CudaContext& context) {
  HEDDLE_TRY(linear_check(args));
  HEDDLE_TRY(linear_address_check(kOp, args.weight));
  const TensorView &x = args.x, &weight = args.weight, &y = args.y;
  const int64_t rows = x.dims[0], k = x.dims[1], outputs = y.dims[1];
  if (rows == 0 || outputs == 0) return Status::success();
  const bool precise = args.activation == LinearActivation::kPrecise;
  HEDDLE_TRY(linear_workspace_check(kOp, context.workspace_bytes, workspace(weight.dtype, rows, k, precise)));
  if (rows <= (weight.dtype == DType::kF32 ? kStreamF32Rows : kStreamRows)) return stream(args, precise, context);
  if (weight.dtype == DType::kF32) {
    const MatmulProblem problem = {x.as<float>(), weight.as<float>(), y.as<float>(), x.leading_stride, linear_inner(k), y.leading_stride, 0, 0, 0,
                                   1,             rows,               outputs,       k,                false,           true};
    return matmul_f32(kOp, problem, args.bias.as<const float>(), context);
  }
  const MmaProduct product = {{},    weight.dtype, weight.data, weight.dims[0] * kLinearPanel, linear_inner(k), false, args.bias.as<const float>(), y.as<float>(),
                              y.leading_stride, outputs};
  return linear_rounded_product(kOp, x.as<const float>(), x.leading_stride, rows, k, linear_terms(precise), product, context);
}

}  // namespace heddle
