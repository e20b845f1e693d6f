// What matmul refuses on every backend, and the products that a call stands for.
#pragma once
#include <string>

#include "core/check.h"
#include "generated/matmul_ops.h"
#include "kernels/matmul/matmul_plan.h"

namespace heddle {

inline Status matmul_check(const MatmulArgs& args) {
  const TensorView &a = args.a, &b = args.b, &y = args.y;
  const bool typed = a.dtype == DType::kF32 && b.dtype == DType::kF32 && y.dtype == DType::kF32;
  const bool ranked = (a.rank == 2 || a.rank == 3) && b.rank == a.rank && y.rank == a.rank;
  const auto operands = [&] { return "a is " + describe(a) + ", b is " + describe(b) + ", y is " + describe(y); };
  HEDDLE_CHECK(typed && ranked, "matmul", operands() + ": expected f32, all of rank 2 or all of rank 3");
  const int first = a.rank - 2;
  const int64_t rows = a.dims[first + (args.transpose_a ? 1 : 0)], k = a.dims[first + (args.transpose_a ? 0 : 1)];
  const int64_t b_k = b.dims[first + (args.transpose_b ? 1 : 0)], columns = b.dims[first + (args.transpose_b ? 0 : 1)];
  const bool batched = first == 0 || (a.dims[0] == b.dims[0] && a.dims[0] == y.dims[0]);
  HEDDLE_CHECK(batched && k == b_k && y.dims[first] == rows && y.dims[first + 1] == columns, "matmul",
               operands() + ", transposed: " + (args.transpose_a ? "a " : "") + (args.transpose_b ? "b" : "") + ": expected [.., m, k] x [.., k, n] = [.., m, n]");
  return Status::success();
}

// Of operands that matmul_check let pass.
inline MatmulProblem matmul_problem(const MatmulArgs& args) {
  const TensorView &a = args.a, &b = args.b, &y = args.y;
  const int first = a.rank - 2;
  const auto stride = [&](const TensorView& tensor) { return first == 0 ? tensor.leading_stride : tensor.dims[2]; };
  return {a.as<float>(),
          b.as<float>(),
          y.as<float>(),
          stride(a),
          stride(b),
          stride(y),
          a.leading_stride,
          b.leading_stride,
          y.leading_stride,
          first == 0 ? 1 : a.dims[0],
          a.dims[first + (args.transpose_a ? 1 : 0)],
          b.dims[first + (args.transpose_b ? 0 : 1)],
          a.dims[first + (args.transpose_a ? 0 : 1)],
          args.transpose_a,
          args.transpose_b};
}

}  // namespace heddle
