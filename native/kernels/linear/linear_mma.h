// Products of rounded activations and 16-bit weights by tiles on the tensor cores.
#pragma once
#include "core/dtype.h"
#include "core/status.h"
#include "kernels/linear/linear_rounded.h"

namespace heddle {

struct CudaContext;

// y[rows, columns] = left times the weight's transpose (linear), or times the weight (linear_grad: `turned`), plus bias.
struct MmaProduct {
  RoundedRows left;
  DType dtype;
  const void* weight;            // [weight_rows, inner], row-major
  int64_t weight_rows, inner;
  bool turned;                   // the sum runs down the weight's rows
  const float* bias;             // [columns] or nullptr
  float* y;
  int64_t y_stride, columns;
};

// Terms and k are summed in one order whatever the number of rows: a row has the same bits whatever stands beside it.
Status linear_mma(const char* op, const MmaProduct& product, const CudaContext& context);

}  // namespace heddle
