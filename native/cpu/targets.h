// Instruction-set targets: the same kernel source is compiled once per target (cpu/foreach_target.h) and one is chosen at load.
#pragma once

namespace heddle {

enum class CpuTarget : int { kBaseline = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3 };

#if defined(__x86_64__)
inline constexpr int kCpuTargetCount = 4;
#else
inline constexpr int kCpuTargetCount = 1;  // on arm64 the baseline is NEON
#endif

const char* cpu_target_name(CpuTarget target);

// True when this machine can run code compiled for the target.
bool cpu_target_supported(CpuTarget target);

// The target in use: the best supported one, or what HEDDLE_CPU_TARGET named when the library was loaded.
CpuTarget cpu_target();

// Switches all later kernels to another target; false when the machine lacks it. For tests and benches.
bool set_cpu_target(CpuTarget target);

}  // namespace heddle

// Calls function `name` of the namespace of the target in use. Use after the HEDDLE_ONCE guard of a kernel file.
#if defined(__x86_64__)
#define HEDDLE_DISPATCH(name)                                                                    \
  ([]() {                                                                                        \
    static constexpr decltype(&baseline::name) kTable[] = {&baseline::name, &avx2::name,         \
                                                           &avx512::name, &avx512_bf16::name};   \
    return kTable[static_cast<int>(::heddle::cpu_target())];                                     \
  }())
#else
#define HEDDLE_DISPATCH(name) (&baseline::name)
#endif
