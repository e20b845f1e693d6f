#include "cuda/cublas_lt.h"

#include <cstdlib>
#include <cstring>

namespace heddle {

#if defined(HEDDLE_CUDA_EMULATOR)

// The emulator's memory and streams are not a GPU's.
bool cublas_lt_multiply(const LtProduct&, cudaStream_t) { return false; }
std::string cublas_lt_name() { return {}; }

#else

namespace {

constexpr int64_t kFewestRows = 128;

bool asked(const char* what) {
  const char* text = std::getenv("HEDDLE_CUBLASLT");
  return text != nullptr && std::strcmp(text, what) == 0;
}

struct Opened {
  LtFunctions functions = {};
  CublasLt* library = nullptr;  // nullptr: not there, or not wanted

  Opened() {
    if (!asked("off") && open_lt_library(kLtLibraryNames, &functions)) library = new CublasLt(functions);
  }
};

const Opened& opened() {
  static const Opened one;
  return one;
}

}  // namespace

bool cublas_lt_multiply(const LtProduct& product, cudaStream_t stream) {
  CublasLt* const library = opened().library;
  static const int64_t fewest = asked("on") ? 1 : kFewestRows;
  int device = 0;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  if (library == nullptr || product.rows < fewest || cudaGetDevice(&device) != cudaSuccess || cudaStreamIsCapturing(stream, &capture) != cudaSuccess) return false;
  return library->multiply(device, product, stream, capture != cudaStreamCaptureStatusNone);
}

std::string cublas_lt_name() {
  if (opened().library == nullptr) return {};
  const size_t version = opened().functions.version();  // 130100 is 13.1.0
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

#endif

}  // namespace heddle
