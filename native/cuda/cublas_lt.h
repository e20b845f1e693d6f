// Large products by cuBLASLt where it is installed.
#pragma once
#include <cuda_runtime.h>

#include <string>

#include "cuda/cublas_lt_products.h"

namespace heddle {

// By the process's cuBLASLt on the current device; false: nothing was launched, because cuBLASLt is not installed, is older than 12,
// says no, HEDDLE_CUBLASLT is "off", or the rows are so few that heddle's own kernels are asked first (never when it is "on").
bool cublas_lt_multiply(const LtProduct& product, cudaStream_t stream);

// "cuBLASLt 13.1.0", or nothing where it is not used.
std::string cublas_lt_name();

}  // namespace heddle
