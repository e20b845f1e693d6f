#include "cuda/cuda_context.h"
#include "generated/matmul_ops.h"
#include "kernels/matmul/matmul_checks.h"
#include "kernels/matmul/matmul_f32.h"

namespace heddle {

Status matmul_cuda(const MatmulArgs& args, CudaContext& context) {
  HEDDLE_TRY(matmul_check(args));
  return matmul_f32("matmul", matmul_problem(args), nullptr, context);
}

}  // namespace heddle
