// cuBLASLt's C interface, as far as it is used: opened at run time where it is installed, so that nothing depends on it.
//
// Types and numbers are those of its stable binary interface (versions 12 and 13).
#pragma once
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace heddle {

// Statuses: 0 is success. Data types and compute types by their numbers in the interface.
inline constexpr int kLtSuccess = 0;
inline constexpr int kLtF32 = 0, kLtF16 = 2, kLtBF16 = 14;
inline constexpr int kLtComputeF32 = 68;  // sums in f32, f32 operands as they are (no tf32)
inline constexpr int kLtDescTransposeA = 3, kLtDescEpilogue = 7, kLtDescBiasPointer = 8;
inline constexpr int32_t kLtTransposed = 1;
inline constexpr uint32_t kLtEpilogueBias = 4;
inline constexpr int kLtPreferenceWorkspaceBytes = 1, kLtPreferenceReductions = 3, kLtPreferenceAlignmentA = 5;  // B, C, D follow
inline constexpr uint32_t kLtNoReduction = 0;  // no sums split between blocks

struct LtAlgorithm {
  uint64_t data[8];
};
struct LtHeuristicResult {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};
static_assert(sizeof(LtHeuristicResult) == 96, "as cuBLASLt lays it out");

// Handles, descriptors, layouts and preferences are opaque pointers.
struct LtFunctions {
  size_t (*version)();
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*desc_create)(void** desc, int compute_type, int scale_type);
  int (*desc_destroy)(void* desc);
  int (*desc_set)(void* desc, int attribute, const void* value, size_t bytes);
  int (*layout_create)(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading);
  int (*layout_destroy)(void* layout);
  int (*preference_create)(void** preference);
  int (*preference_destroy)(void* preference);
  int (*preference_set)(void* preference, int attribute, const void* value, size_t bytes);
  int (*heuristic)(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference, int wanted, LtHeuristicResult* results, int* found);
  int (*matmul)(void* handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout, const void* beta, const void* c,
                void* c_layout, void* d, void* d_layout, const LtAlgorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream);
};

inline constexpr const char* kLtLibraryNames[] = {"libcublasLt.so.13", "libcublasLt.so.12", nullptr};
inline constexpr size_t kLtOldestVersion = 120000;  // 12.0.0

// The functions of the first library of `names` (ended by nullptr) that can be opened, is new enough and has them all; such a
// library stays open until the process ends.
inline bool open_lt_library(const char* const* names, LtFunctions* functions) {
  for (; *names != nullptr; names++) {
    void* library = dlopen(*names, RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) continue;
    const auto find = [library](const char* name, auto& function) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    LtFunctions& to = *functions;
    const bool whole = find("cublasLtGetVersion", to.version) && find("cublasLtCreate", to.create) && find("cublasLtDestroy", to.destroy) &&
                       find("cublasLtMatmulDescCreate", to.desc_create) && find("cublasLtMatmulDescDestroy", to.desc_destroy) &&
                       find("cublasLtMatmulDescSetAttribute", to.desc_set) && find("cublasLtMatrixLayoutCreate", to.layout_create) &&
                       find("cublasLtMatrixLayoutDestroy", to.layout_destroy) && find("cublasLtMatmulPreferenceCreate", to.preference_create) &&
                       find("cublasLtMatmulPreferenceDestroy", to.preference_destroy) && find("cublasLtMatmulPreferenceSetAttribute", to.preference_set) &&
                       find("cublasLtMatmulAlgoGetHeuristic", to.heuristic) && find("cublasLtMatmul", to.matmul);
    if (whole && to.version() >= kLtOldestVersion) return true;
    dlclose(library);
  }
  *functions = {};
  return false;
}

}  // namespace heddle
