// Speed of linear against what the machine can do in the same seconds: every round measures the multiply-add peak and
// the read bandwidth, then every row count once; medians over the rounds are compared.
//
//   linear_bench [--json] [--compact] [--dtype bf16] [--activation fast] [--threads 1,2] [--rows 1,2,4] [--shapes 2048x5632,..] [--rounds 15] [--clock wall]
//
// A shape is k x outputs. Weights rotate through more memory than any cache holds. HEDDLE_CPU_TARGET picks the target.
// --compact also measures bf16 weights of N(0, 0.02) in slots, compact (compact_panels.h), in turn with the plain ones.
// On a machine that others use too, --clock cpu counts the processor time of the process, divided by its threads.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "bench_tensors.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "core/float16.h"
#include "generated/linear_ops.h"
#include "kernels/linear/compact_weight.h"
#include "kernels/linear/linear_pack.h"

#define HEDDLE_TARGET_FILE "../bench/native/linear_bench.cc"
#include "cpu/foreach_target.h"

#include "ceilings.h"

#if defined(HEDDLE_ONCE)
using namespace heddle;
using namespace heddle::ceilings;
using namespace heddle::bench;

namespace {

struct Shape {
  int64_t k, outputs;
};

struct Options {
  bool json = false, compact = false;
  DType dtype = DType::kBF16;
  LinearActivation activation = LinearActivation::kFast;
  std::vector<int64_t> threads = {1, 2}, rows = {1, 2, 4, 8, 16, 32, 128, 512};
  std::vector<Shape> shapes = {{2048, 2048}, {2048, 5632}, {5632, 2048}, {576, 1536}, {2048, 32000}};
  int64_t rounds = 15;
};

struct Row {
  int64_t rows;
  std::vector<double> times, of_peak, of_bandwidth, of_roof, compact_times, speedups;
};

// As many copies of one weight [outputs, k] of N(0, 0.02) as fit, compact. Returns the bytes of one copy.
size_t fill_compact(const Shape& shape, std::byte* memory, size_t bytes) {
  const int64_t panels = linear_panels(shape.outputs), slot = compact_slot_bytes(shape.k);
  uint32_t state = 54321;
  const auto uniform = [&] { return (static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) + 0.5f) / (1 << 24); };
  for (int64_t panel = 0; panel < panels; panel++) {
    std::memset(memory + panel * slot, 0, static_cast<size_t>(kPanelLine));
    uint16_t* body = reinterpret_cast<uint16_t*>(memory + panel * slot + kPanelLine);
    for (int64_t i = 0; i < linear_inner(shape.k) * kLinearPanel; i++)
      body[i] = f32_to_bf16(0.02f * std::sqrt(-2.0f * std::log(uniform())) * std::cos(6.2831853f * uniform()));
  }
  ThreadPool pool(1);
  const size_t weight_bytes = static_cast<size_t>(CompactWeight(memory, shape.outputs, shape.k).make_compact(pool));
  for (size_t copy = 1; (copy + 1) * weight_bytes <= bytes; copy++) std::memcpy(memory + copy * weight_bytes, memory, weight_bytes);
  return weight_bytes;
}

void measure(const Options& options, const Shape& shape, int threads, std::byte* memory, std::byte* compact, size_t bytes, bool& first) {
  Machine machine{ThreadPool(threads), memory, bytes, 0, std::vector<float>(static_cast<size_t>(threads) * 64, 0.0f)};
  const bool dot = options.dtype == DType::kBF16 && cpu_target() == CpuTarget::kAvx512Bf16;
  const size_t weight_bytes = (linear_packed_bytes(options.dtype, shape.outputs, shape.k) + 63) / 64 * 64;
  const size_t copies = std::max<size_t>(1, bytes / weight_bytes);
  const int64_t most = *std::max_element(options.rows.begin(), options.rows.end());
  const int64_t inner = linear_inner(shape.k);
  std::byte* x = allocate(static_cast<size_t>(most * shape.k) * 4);
  std::byte* y = allocate(static_cast<size_t>(most * shape.outputs) * 4);
  fill(DType::kF32, x, static_cast<size_t>(most * shape.k) * 4);
  LinearArgs args;
  args.weight = options.dtype == DType::kBF16 ? view(nullptr, options.dtype, {linear_panels(shape.outputs), inner / 2, 32})
                                              : view(nullptr, options.dtype, {linear_panels(shape.outputs), inner, 16});
  args.activation = options.activation;
  args.x = view(x, DType::kF32, {most, shape.k});
  args.y = view(y, DType::kF32, {most, shape.outputs});
  const TensorView plain_weight = args.weight;
  const TensorView compact_weight = view(nullptr, DType::kU8, {linear_panels(shape.outputs), compact_slot_lines(shape.k), kPanelLine});
  if (options.compact) args.weight = compact_weight;
  const size_t workspace_bytes = linear_cpu_workspace(args, threads);
  CpuContext context{machine.pool, allocate(workspace_bytes), workspace_bytes};

  std::vector<Row> table;
  for (int64_t rows : options.rows) table.push_back({rows, {}, {}, {}, {}, {}, {}});
  const size_t compact_bytes = options.compact ? fill_compact(shape, compact, bytes) : 0;
  size_t copy = 0;
  std::vector<double> peaks, bandwidths;
  for (int64_t round = 0; round <= options.rounds; round++) {
    for (Row& row : table) {
      const double peak = machine.peak(dot);
      const double bandwidth = machine.bandwidth();
      args.x.dims[0] = args.y.dims[0] = row.rows;
      const double operations = 2.0 * static_cast<double>(row.rows * shape.k * shape.outputs);
      const double roof = std::max(operations / peak, static_cast<double>(weight_bytes) / bandwidth);
      const int repeats = std::max(1, static_cast<int>(0.002 / roof));
      const auto time = [&](const TensorView& weight, std::byte* at, size_t apart, size_t count) {
        args.weight = weight;
        const double start = seconds(threads);
        for (int repeat = 0; repeat < repeats; repeat++) {
          args.weight.data = at + (copy++ % count) * apart;
          const Status status = linear_cpu(args, context);
          if (!status.ok()) {
            std::fprintf(stderr, "%s\n", status.message.c_str());
            std::exit(1);
          }
        }
        return (seconds(threads) - start) / repeats;
      };
      const double took = time(plain_weight, memory, weight_bytes, copies);
      const double compact_took = options.compact ? time(compact_weight, compact, compact_bytes, std::max<size_t>(1, bytes / compact_bytes)) : 0;
      if (round == 0) continue;  // warms up
      peaks.push_back(peak);
      bandwidths.push_back(bandwidth);
      row.times.push_back(took);
      row.of_peak.push_back(operations / took / peak);
      row.of_bandwidth.push_back(static_cast<double>(weight_bytes) / took / bandwidth);
      row.of_roof.push_back(roof / took);
      row.compact_times.push_back(compact_took);
      row.speedups.push_back(took / compact_took);
    }
  }
  if (!options.json)
    std::printf("%s, k %lld, outputs %lld, %s, threads %d: peak %.0f GFLOP/s, read %.1f GB/s\n", cpu_target_name(cpu_target()),
                static_cast<long long>(shape.k), static_cast<long long>(shape.outputs), dtype_name(options.dtype), threads, median(peaks) * 1e-9,
                median(bandwidths) * 1e-9);
  for (const Row& row : table) {
    const double took = median(row.times);
    const double operations = 2.0 * static_cast<double>(row.rows * shape.k * shape.outputs);
    const double rate = operations / took * 1e-9, gigabytes = static_cast<double>(weight_bytes) / took * 1e-9;
    if (options.json)
      std::printf("%s\n  {\"target\": \"%s\", \"dtype\": \"%s\", \"k\": %lld, \"outputs\": %lld, \"threads\": %d, \"rows\": %lld, \"seconds\": %.4g, "
                  "\"gflops\": %.1f, \"weight_gb_per_s\": %.2f, \"of_peak\": %.3f, \"of_bandwidth\": %.3f, \"of_roof\": %.3f}",
                  first ? "[" : ",", cpu_target_name(cpu_target()), dtype_name(options.dtype), static_cast<long long>(shape.k),
                  static_cast<long long>(shape.outputs), threads, static_cast<long long>(row.rows), took, rate, gigabytes, median(row.of_peak),
                  median(row.of_bandwidth), median(row.of_roof));
    else if (options.compact)
      std::printf("  rows %4lld  plain %9.1f us  %5.1f GB/s   compact %9.1f us  %5.1f GB/s   faster by %.3f\n", static_cast<long long>(row.rows), took * 1e6,
                  gigabytes, median(row.compact_times) * 1e6, static_cast<double>(compact_bytes) / median(row.compact_times) * 1e-9, median(row.speedups));
    else
      std::printf("  rows %4lld  %9.1f us  %6.1f GFLOP/s  %5.1f GB/s   of peak %5.1f %%  of read %5.1f %%  of the roof %5.1f %%\n",
                  static_cast<long long>(row.rows), took * 1e6, rate, gigabytes, median(row.of_peak) * 100, median(row.of_bandwidth) * 100,
                  median(row.of_roof) * 100);
    first = false;
  }
  std::fflush(stdout);
#if defined(__linux__)
  munmap(x, static_cast<size_t>(most * shape.k) * 4);
  munmap(y, static_cast<size_t>(most * shape.outputs) * 4);
#endif
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i++) {
    const std::string name = arguments[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (name == "--compact") {
      options.compact = true;
      continue;
    }
    const std::string value = i + 1 < count ? arguments[++i] : "";
    if (name == "--dtype") {
      options.dtype = value == "f32" ? DType::kF32 : value == "f16" ? DType::kF16 : DType::kBF16;
    } else if (name == "--activation") {
      options.activation = value == "precise" ? LinearActivation::kPrecise : LinearActivation::kFast;
    } else if (name == "--threads") {
      options.threads = numbers(value);
    } else if (name == "--rows") {
      options.rows = numbers(value);
    } else if (name == "--clock") {
      cpu_clock = value == "cpu";
    } else if (name == "--rounds") {
      options.rounds = std::atoll(value.c_str());
    } else if (name == "--shapes") {
      options.shapes.clear();
      for (const std::string& part : split(value, ',')) {
        const auto sides = split(part, 'x');
        options.shapes.push_back({std::atoll(sides[0].c_str()), std::atoll(sides.back().c_str())});
      }
    } else {
      std::fprintf(stderr, "linear_bench: unknown option %s\n", name.c_str());
      return 2;
    }
  }
  const size_t bytes = size_t{320} << 20;
  std::byte* memory = allocate(bytes);
  fill(options.dtype, memory, bytes);
  std::byte* compact = options.compact ? allocate(bytes) : nullptr;
  bool first = true;
  for (const Shape& shape : options.shapes)
    for (int64_t threads : options.threads) measure(options, shape, static_cast<int>(threads), memory, compact, bytes, first);
  if (options.json) std::printf("\n]\n");
  return 0;
}
#endif  // HEDDLE_ONCE
