// Products of f32 matrices on a CUDA device, for the families whose operands are f32.
#pragma once
#include "core/status.h"
#include "kernels/matmul/matmul_plan.h"

namespace heddle {

struct CudaContext;

// y = a b + bias[columns] (may be null), transposed as the problem says. Every output is a sum of fused multiply-adds in rising
// order of k, then the bias: a row has the same bits whatever stands beside it.
Status matmul_f32(const char* op, const MatmulProblem& problem, const float* bias, const CudaContext& context);

}  // namespace heddle
