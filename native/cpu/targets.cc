#include "cpu/targets.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace heddle {

namespace {

constexpr CpuTarget kAll[] = {CpuTarget::kBaseline, CpuTarget::kAvx2, CpuTarget::kAvx512, CpuTarget::kAvx512Bf16};

CpuTarget choose() {
  CpuTarget best = CpuTarget::kBaseline;
  const char* wanted = std::getenv("HEDDLE_CPU_TARGET");
  for (int i = 0; i < kCpuTargetCount; i++) {
    if (!cpu_target_supported(kAll[i])) continue;
    if (wanted != nullptr && std::strcmp(wanted, cpu_target_name(kAll[i])) == 0) return kAll[i];
    best = kAll[i];
  }
  return best;
}

std::atomic<int>& current() {
  static std::atomic<int> target{static_cast<int>(choose())};
  return target;
}

}  // namespace

const char* cpu_target_name(CpuTarget target) {
  switch (target) {
    case CpuTarget::kBaseline:
#if defined(__aarch64__)
      return "neon";
#else
      return "baseline";
#endif
    case CpuTarget::kAvx2:
      return "avx2";
    case CpuTarget::kAvx512:
      return "avx512";
    case CpuTarget::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "?";
}

bool cpu_target_supported(CpuTarget target) {
  if (target == CpuTarget::kBaseline) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (target == CpuTarget::kAvx2) return avx2;
  if (target == CpuTarget::kAvx512) return avx512;
  if (target == CpuTarget::kAvx512Bf16) return avx512 && __builtin_cpu_supports("avx512bf16");
#endif
  return false;
}

CpuTarget cpu_target() { return static_cast<CpuTarget>(current().load(std::memory_order_relaxed)); }

bool set_cpu_target(CpuTarget target) {
  if (static_cast<int>(target) >= kCpuTargetCount || !cpu_target_supported(target)) return false;
  current().store(static_cast<int>(target), std::memory_order_relaxed);
  return true;
}

}  // namespace heddle
