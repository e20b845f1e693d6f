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

struct OpenedLibrary {
  CublasLt* products = nullptr;  // nullptr: not used
  size_t version = 0;
};

// Opened when first wanted, never closed.
const OpenedLibrary& library() {
  static const OpenedLibrary opened = [] {
    LtFunctions functions = {};
    if (asked("off") || !open_lt_library(kLtLibraryNames, &functions)) return OpenedLibrary{};
    return OpenedLibrary{new CublasLt(functions), functions.version()};
  }();
  return opened;
}

}  // namespace

bool cublas_lt_multiply(const LtProduct& product, cudaStream_t stream) {
  CublasLt* const products = library().products;
  static const int64_t fewest = asked("on") ? 1 : kFewestRows;
  int device = 0;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  if (products == nullptr || product.rows < fewest || cudaGetDevice(&device) != cudaSuccess || cudaStreamIsCapturing(stream, &capture) != cudaSuccess) return false;
  return products->multiply(device, product, stream, capture != cudaStreamCaptureStatusNone);
}

std::string cublas_lt_name() {
  const auto& [products, version] = library();
  if (products == nullptr) return {};
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

#endif

}  // namespace heddle
