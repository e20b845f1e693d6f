#include "cuda/cublas_lt.h"

#include <cstdlib>
#include <cstring>

namespace heddle {

#if defined(HEDDLE_CUDA_EMULATOR)

// The emulator's memory and streams are not a GPU's.
bool cublas_lt_multiply(const LtProduct&, cudaStream_t) { return false; }

#else

namespace {

constexpr int64_t kFewestRows = 128;

bool asked(const char* what) {
  const char* text = std::getenv("HEDDLE_CUBLASLT");
  return text != nullptr && std::strcmp(text, what) == 0;
}

CublasLt* open() {
  LtFunctions functions = {};
  if (asked("off") || !open_lt_library(kLtLibraryNames, &functions)) return nullptr;
  return new CublasLt(functions);
}

}  // namespace

bool cublas_lt_multiply(const LtProduct& product, cudaStream_t stream) {
  static CublasLt* const library = open();
  static const int64_t fewest = asked("on") ? 1 : kFewestRows;
  int device = 0;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  if (library == nullptr || product.rows < fewest || cudaGetDevice(&device) != cudaSuccess || cudaStreamIsCapturing(stream, &capture) != cudaSuccess) return false;
  return library->multiply(device, product, stream, capture != cudaStreamCaptureStatusNone);
}

#endif

}  // namespace heddle
