// Products as cuBLASLt wants them described. Whatever fails here only says no: the caller's own kernels compute the product then.
#pragma once
#include <array>
#include <map>
#include <mutex>

#include "core/dtype.h"
#include "cuda/cublas_lt_library.h"

namespace heddle {

// y[rows, columns] = left[rows, k] times weight[columns, k] transposed, or times weight[k, columns] (`turned`), plus bias[columns].
// All row-major; left and weight of one dtype (f32, f16, bf16), bias (may be null) and y f32.
struct LtProduct {
  DType dtype;
  const void* left;
  const void* weight;
  const float* bias;
  float* y;
  int64_t rows, columns, k;
  int64_t left_stride, weight_stride, y_stride;
  bool turned;
};

// One per process. A shape gets its algorithm once: the same bits every time. Algorithms need no workspace and do not split sums
// between blocks, so that products of several streams do not meet.
class CublasLt {
 public:
  explicit CublasLt(const LtFunctions& functions) : functions_(functions) {}
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;
  // Handles stay: at the process's end the driver may be gone before them.

  // Launches the product on `device`, the current one; false: nothing was launched. While a stream is captured (`capturing`) only
  // what was launched before is launched.
  bool multiply(int device, const LtProduct& product, void* stream, bool capturing) {
    if (product.rows <= 0 || product.columns <= 0 || product.k <= 0 || !aligned(product)) return false;
    std::lock_guard<std::mutex> lock(mutex_);
    const Key key = {device,
                     static_cast<int64_t>(product.dtype),
                     product.turned,
                     product.bias != nullptr,
                     product.rows,
                     product.columns,
                     product.k,
                     product.left_stride,
                     product.weight_stride,
                     product.y_stride};
    const auto found = choices_.find(key);
    if (found == choices_.end() ? capturing : !found->second.usable) return false;
    void* handle = handle_of(device);
    Descriptors descriptors(functions_);
    Choice choice;
    if (handle != nullptr && descriptors.describe(product)) {
      if (found != choices_.end()) {
        choice = found->second;
      } else {
        choice.usable = choose(handle, descriptors, &choice.algorithm);
      }
    }
    if (choice.usable) {
      const float one = 1, zero = 0;
      choice.usable = functions_.matmul(handle, descriptors.desc, &one, product.weight, descriptors.weight, product.left, descriptors.left, &zero, product.y,
                                        descriptors.y, product.y, descriptors.y, &choice.algorithm, nullptr, 0, stream) == kLtSuccess;
    }
    choices_[key] = choice;
    return choice.usable;
  }

 private:
  static constexpr uint32_t kAlignment = 16;
  using Key = std::array<int64_t, 10>;
  struct Choice {
    bool usable = false;
    LtAlgorithm algorithm = {};
  };

  // cuBLASLt's matrices lie column by column: what is row-major here is its transpose there, so it computes y's transpose,
  // weight times left's transpose.
  struct Descriptors {
    explicit Descriptors(const LtFunctions& functions) : functions(functions) {}
    ~Descriptors() {
      if (y != nullptr) functions.layout_destroy(y);
      if (left != nullptr) functions.layout_destroy(left);
      if (weight != nullptr) functions.layout_destroy(weight);
      if (desc != nullptr) functions.desc_destroy(desc);
    }
    Descriptors(const Descriptors&) = delete;
    Descriptors& operator=(const Descriptors&) = delete;

    bool describe(const LtProduct& product) {
      const int type = product.dtype == DType::kF32 ? kLtF32 : product.dtype == DType::kF16 ? kLtF16 : kLtBF16;
      const auto size = [](int64_t count) { return static_cast<uint64_t>(count); };
      if (functions.desc_create(&desc, kLtComputeF32, kLtF32) != kLtSuccess) return desc = nullptr, false;
      if (!product.turned && functions.desc_set(desc, kLtDescTransposeA, &kLtTransposed, sizeof kLtTransposed) != kLtSuccess) return false;
      if (product.bias != nullptr && (functions.desc_set(desc, kLtDescEpilogue, &kLtEpilogueBias, sizeof kLtEpilogueBias) != kLtSuccess ||
                                      functions.desc_set(desc, kLtDescBiasPointer, &product.bias, sizeof product.bias) != kLtSuccess))
        return false;
      const int64_t down = product.turned ? product.columns : product.k, across = product.turned ? product.k : product.columns;
      if (functions.layout_create(&weight, type, size(down), size(across), product.weight_stride) != kLtSuccess) return weight = nullptr, false;
      if (functions.layout_create(&left, type, size(product.k), size(product.rows), product.left_stride) != kLtSuccess) return left = nullptr, false;
      if (functions.layout_create(&y, kLtF32, size(product.columns), size(product.rows), product.y_stride) != kLtSuccess) return y = nullptr, false;
      return true;
    }

    const LtFunctions& functions;
    void *desc = nullptr, *weight = nullptr, *left = nullptr, *y = nullptr;
  };

  // Algorithms are chosen for addresses that are multiples of 16 bytes, row by row.
  static bool aligned(const LtProduct& product) {
    const int64_t element = static_cast<int64_t>(dtype_bytes(product.dtype));
    const auto whole = [](const void* pointer, int64_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % kAlignment == 0 && bytes % kAlignment == 0; };
    return whole(product.left, product.left_stride * element) && whole(product.weight, product.weight_stride * element) &&
           whole(product.y, product.y_stride * static_cast<int64_t>(sizeof(float))) && whole(product.bias, 0);
  }

  bool choose(void* handle, const Descriptors& descriptors, LtAlgorithm* algorithm) {
    void* preference = nullptr;
    if (functions_.preference_create(&preference) != kLtSuccess) return false;
    const uint64_t no_workspace = 0;
    bool set = functions_.preference_set(preference, kLtPreferenceWorkspaceBytes, &no_workspace, sizeof no_workspace) == kLtSuccess &&
               functions_.preference_set(preference, kLtPreferenceReductions, &kLtNoReduction, sizeof kLtNoReduction) == kLtSuccess;
    for (int operand = 0; operand < 4; operand++)
      set = set && functions_.preference_set(preference, kLtPreferenceAlignmentA + operand, &kAlignment, sizeof kAlignment) == kLtSuccess;
    LtHeuristicResult result = {};
    int found = 0;
    const bool chosen = set &&
                        functions_.heuristic(handle, descriptors.desc, descriptors.weight, descriptors.left, descriptors.y, descriptors.y, preference, 1, &result,
                                             &found) == kLtSuccess &&
                        found == 1 && result.status == kLtSuccess && result.workspace_bytes == 0;
    functions_.preference_destroy(preference);
    *algorithm = result.algorithm;
    return chosen;
  }

  void* handle_of(int device) {
    const auto found = handles_.find(device);
    if (found != handles_.end()) return found->second;
    void* handle = nullptr;
    if (functions_.create(&handle) != kLtSuccess) handle = nullptr;
    return handles_[device] = handle;
  }

  const LtFunctions functions_;
  std::mutex mutex_;
  std::map<int, void*> handles_;
  std::map<Key, Choice> choices_;
};

}  // namespace heddle
