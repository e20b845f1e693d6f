#include "cuda/cuda_context.h"
#include "generated/linear_ops.h"
#include "kernels/linear/linear_checks.h"
#include "kernels/linear/linear_cuda_plan.cuh"
#include "kernels/linear/linear_stream.h"

namespace heddle {

namespace {

constexpr const char* kOp = "linear";
static_assert(kFewRows == kStreamRows, "few rows are those that a streamed weight takes");

bool is_precise(const LinearArgs& args) { return args.activation == LinearActivation::kPrecise; }

Status stream(const LinearArgs& args, const CudaContext& context) {
  const DType dtype = args.weight.dtype;
  const int64_t rows = args.x.dims[0], k = args.x.dims[1];
  const int terms = linear_terms(dtype, rows, is_precise(args));
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
  if (dtype == DType::kF16 || (dtype == DType::kBF16 && rows > kStreamDirectRows))
    HEDDLE_TRY(linear_round_rows(kOp, dtype, product.x, product.x_stride, rows, k, terms, RoundedBlock::of(rows, k, terms), context, &product.left));
  product.left.count = terms;
  return linear_stream(kOp, product, context);
}

}  // namespace

size_t linear_cuda_workspace(const LinearArgs& args, const DeviceLimits&) {
  return linear_rounded_bytes(args.weight.dtype, args.x.dims[0], args.x.dims[1], is_precise(args));
}

Status linear_cuda(const LinearArgs& args, CudaContext& context) {
  HEDDLE_TRY(linear_check(args));
  HEDDLE_TRY(linear_device_weight_check(kOp, args.weight));
  const TensorView &x = args.x, &weight = args.weight, &y = args.y;
  const int64_t rows = x.dims[0], k = x.dims[1], outputs = y.dims[1];
  if (rows == 0 || outputs == 0) return Status::success();
  HEDDLE_TRY(linear_workspace_check(kOp, context.workspace_bytes, linear_rounded_bytes(weight.dtype, rows, k, is_precise(args))));
  if (rows <= (weight.dtype == DType::kF32 ? kStreamF32Rows : kStreamRows)) return stream(args, context);
  const float* bias = args.bias.as<const float>();
  if (weight.dtype == DType::kF32) return linear_f32_product(kOp, x, weight.data, linear_inner(k), false, bias, y, context);
  const MmaProduct product = {{}, weight.dtype, weight.data, weight.dims[0] * kLinearPanel, linear_inner(k), false, bias, y.as<float>(), y.leading_stride, outputs};
  return linear_rounded_product(kOp, x.as<const float>(), x.leading_stride, rows, k, linear_terms(weight.dtype, rows, is_precise(args)), product, context);
}

}  // namespace heddle
