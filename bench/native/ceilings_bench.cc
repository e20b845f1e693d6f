// What the machine can do at most, as JSON: read bandwidth from memory, and the peaks of f32 multiply-adds and bf16 dot products.
//
//   ceilings_bench [--threads 1,2] [--rounds 9]
//
// Medians over rounds that take turns. Bandwidth reads 512 MiB on huge pages, more than any cache holds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "cpu/cpu_context.h"
#include "cpu/targets.h"

#define HEDDLE_TARGET_FILE "../bench/native/ceilings_bench.cc"
#include "cpu/foreach_target.h"

#include "ceilings.h"

#if defined(HEDDLE_ONCE)
using namespace heddle;
using namespace heddle::ceilings;

int main(int count, char** arguments) {
  std::vector<int> threads = {1, 2};
  int rounds = 9;
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i], value = i + 1 < count ? arguments[i + 1] : "";
    if (name == "--threads") {
      threads.clear();
      for (const char* at = value.c_str(); *at;) {
        threads.push_back(std::atoi(at));
        while (*at && *at++ != ',') {
        }
      }
    } else if (name == "--rounds") {
      rounds = std::atoi(value.c_str());
    } else {
      std::fprintf(stderr, "ceilings_bench: unknown option %s: expected --threads or --rounds\n", name.c_str());
      return 2;
    }
  }
  const size_t bytes = size_t{512} << 20;
  std::byte* memory = allocate(bytes);
  std::memset(memory, 0, bytes);
  const bool has_dot = cpu_target() == CpuTarget::kAvx512Bf16;
  std::printf("{\"target\": \"%s\", \"threads\": {", cpu_target_name(cpu_target()));
  for (size_t i = 0; i < threads.size(); i++) {
    Machine machine{ThreadPool(threads[i]), memory, bytes, 0, std::vector<float>(static_cast<size_t>(threads[i]) * 64, 0.0f)};
    std::vector<double> read, multiply, dot;
    for (int round = 0; round < rounds; round++) {
      for (size_t at = 0; at < bytes; at += size_t{32} << 20) read.push_back(machine.bandwidth());
      multiply.push_back(machine.peak(false));
      if (has_dot) dot.push_back(machine.peak(true));
    }
    std::printf("%s\"%d\": {\"readGBPerSecond\": %.2f, \"f32GflopPerSecond\": %.1f", i ? ", " : "", threads[i], median(read) * 1e-9, median(multiply) * 1e-9);
    if (has_dot) std::printf(", \"bf16GflopPerSecond\": %.1f", median(dot) * 1e-9);
    std::printf("}");
  }
  std::printf("}}\n");
  return 0;
}
#endif  // HEDDLE_ONCE
