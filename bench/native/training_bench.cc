// Speed of the backward paths of training against what they are to be compared with in the same seconds: linear_grad beside
// linear, and self_attention with its gradient beside the multiply-add peak.
//
//   training_bench [--dtype bf16] [--threads 1,2] [--rows 512] [--shapes 576x1536,..] [--rounds 9] [--clock wall] [--only linear|attention] [--scenes 0,1]
//
// A shape is k x outputs, as in linear_bench. HEDDLE_CPU_TARGET picks the target. On a machine that others use too, --clock cpu
// counts the processor time of the process, divided by its threads.
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

#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/linear_ops.h"
#include "generated/self_attention_ops.h"
#include "kernels/linear/linear_pack.h"

#define HEDDLE_TARGET_FILE "../bench/native/training_bench.cc"
#include "cpu/foreach_target.h"

#include "ceilings.h"

#if defined(HEDDLE_ONCE)
using namespace heddle;
using namespace heddle::ceilings;

namespace {

struct Shape {
  int64_t k, outputs;
};

struct Scene {
  const char* name;
  int64_t documents, length, heads, key_heads, width;
};
constexpr Scene kScenes[] = {{"4 x 128 tokens, heads 9/3", 4, 128, 9, 3, 64}, {"1 x 2048 tokens, heads 32/4", 1, 2048, 32, 4, 64}};

struct Options {
  DType dtype = DType::kBF16;
  std::vector<int64_t> threads = {1, 2}, rows = {512}, scenes = {0, 1};
  std::vector<Shape> shapes = {{576, 576}, {576, 1536}, {1536, 576}, {576, 49152}, {2048, 5632}};
  int64_t rounds = 9;
  std::string only;
};

void fill(DType dtype, std::byte* memory, size_t bytes) {
  uint32_t state = 12345;
  for (size_t at = 0; at < bytes; at += 4) {  // numbers between 2^-3 and 2^-2 whatever the dtype: 0x3e00 is one in bf16, 0x3200 in f16
    state = state * 1664525u + 1013904223u;
    const uint32_t sign = state & 0x80008000u, fraction = (state >> 9) & 0x007f007fu;
    const uint32_t word = (dtype == DType::kF16 ? 0x32003200u : 0x3e003e00u) | sign | fraction;
    std::memcpy(memory + at, &word, 4);
  }
}

TensorView view(void* data, DType dtype, std::initializer_list<int64_t> dims) {
  TensorView tensor;
  tensor.data = data;
  tensor.dtype = dtype;
  for (int64_t dim : dims) tensor.dims[tensor.rank++] = dim;
  tensor.leading_stride = tensor.inner_elements();
  return tensor;
}

TensorView make(std::initializer_list<int64_t> dims) {
  TensorView tensor = view(nullptr, DType::kF32, dims);
  tensor.data = allocate(static_cast<size_t>(tensor.elements()) * 4);
  fill(DType::kF32, tensor.as<std::byte>(), static_cast<size_t>(tensor.elements()) * 4);
  return tensor;
}

void release([[maybe_unused]] const TensorView& tensor) {
#if defined(__linux__)
  munmap(tensor.data, static_cast<size_t>(tensor.elements()) * dtype_bytes(tensor.dtype));
#endif
}

void expect_success(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message.c_str());
  std::exit(1);
}

template <class Call>
double time_of(int threads, int repeats, const Call& call) {
  const double start = seconds(threads);
  for (int repeat = 0; repeat < repeats; repeat++) call();
  return (seconds(threads) - start) / repeats;
}

void bench_linear(const Options& options, const Shape& shape, int threads, int64_t rows) {
  ThreadPool pool(threads);
  const int64_t inner = linear_inner(shape.k), panels = linear_panels(shape.outputs);
  TensorView weight = options.dtype == DType::kBF16 ? view(nullptr, options.dtype, {panels, inner / 2, 32}) : view(nullptr, options.dtype, {panels, inner, 16});
  const size_t weight_bytes = linear_packed_bytes(options.dtype, shape.outputs, shape.k);
  weight.data = allocate(weight_bytes);
  fill(options.dtype, weight.as<std::byte>(), weight_bytes);
  const TensorView x = make({rows, shape.k}), y = make({rows, shape.outputs});
  const LinearArgs forward{x, weight, {}, y, LinearActivation::kFast};
  const LinearGradArgs backward{y, weight, x, LinearGradActivation::kFast};
  const size_t bytes = std::max(linear_cpu_workspace(forward, threads), linear_grad_cpu_workspace(backward, threads));
  TensorView workspace = view(allocate(bytes), DType::kU8, {static_cast<int64_t>(bytes)});
  CpuContext context{pool, workspace.as<std::byte>(), bytes};
  const double operations = 2.0 * static_cast<double>(rows * shape.k * shape.outputs);
  const int repeats = std::max(1, static_cast<int>(0.02 / (operations / 100e9)));
  std::vector<double> forward_times, backward_times, ratios;
  for (int64_t round = 0; round <= options.rounds; round++) {
    const double down = time_of(threads, repeats, [&] { expect_success(linear_cpu(forward, context)); });
    const double up = time_of(threads, repeats, [&] { expect_success(linear_grad_cpu(backward, context)); });
    if (round == 0) continue;  // warms up
    forward_times.push_back(down);
    backward_times.push_back(up);
    ratios.push_back(down / up);
  }
  std::printf("%s %s threads %d, rows %lld, %5lld x %-5lld  linear %8.0f us %6.1f GFLOP/s   linear_grad %8.0f us %6.1f GFLOP/s   speed %5.1f %% of linear\n",
              cpu_target_name(cpu_target()), dtype_name(options.dtype), threads, static_cast<long long>(rows), static_cast<long long>(shape.k),
              static_cast<long long>(shape.outputs), median(forward_times) * 1e6, operations / median(forward_times) * 1e-9,
              median(backward_times) * 1e6, operations / median(backward_times) * 1e-9, median(ratios) * 100);
  std::fflush(stdout);
  for (const TensorView& tensor : {weight, x, y, workspace}) release(tensor);
}

void bench_attention(const Options& options, const Scene& scene, int threads) {
  std::byte* memory = allocate(size_t{64} << 20);
  Machine machine{ThreadPool(threads), memory, size_t{64} << 20, 0, std::vector<float>(static_cast<size_t>(threads) * 64, 0.0f)};
  const int64_t tokens = scene.documents * scene.length;
  const auto queries = [&] { return make({tokens, scene.heads, scene.width}); };
  const auto keys = [&] { return make({tokens, scene.key_heads, scene.width}); };
  const TensorView q = queries(), k = keys(), v = keys(), y = queries(), dy = queries(), dq = queries(), dk = keys(), dv = keys();
  const TensorView lse = make({tokens, scene.heads});
  TensorView ranges = make({tokens, 4});
  ranges.dtype = DType::kI32;
  for (int64_t token = 0; token < tokens; token++) {
    const int32_t row[4] = {0, 0, static_cast<int32_t>(token / scene.length * scene.length), static_cast<int32_t>(token + 1)};
    std::memcpy(ranges.row<int32_t>(token), row, sizeof row);
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(scene.width));
  const SelfAttentionArgs forward{q, k, v, ranges, y, lse, scale, 0.0f};
  const SelfAttentionGradArgs backward{q, k, v, ranges, y, lse, dy, {}, dq, dk, dv, scale, 0.0f};
  const size_t bytes = std::max(self_attention_cpu_workspace(forward, threads), self_attention_grad_cpu_workspace(backward, threads));
  CpuContext context{machine.pool, allocate(bytes), bytes};
  const double pairs = static_cast<double>(scene.documents * scene.length * (scene.length + 1) / 2 * scene.heads);
  const double product = 2.0 * pairs * static_cast<double>(scene.width);  // operations of q . k alone
  const int repeats = std::max(1, static_cast<int>(0.02 / (7 * product / 60e9)));
  std::vector<double> peaks, forward_times, backward_times;
  for (int64_t round = 0; round <= options.rounds; round++) {
    const double peak = machine.peak(false);
    const double down = time_of(threads, repeats, [&] { expect_success(self_attention_cpu(forward, context)); });
    const double up = time_of(threads, repeats, [&] { expect_success(self_attention_grad_cpu(backward, context)); });
    if (round == 0) continue;  // warms up
    peaks.push_back(peak);
    forward_times.push_back(down);
    backward_times.push_back(up);
  }
  const double down = median(forward_times), up = median(backward_times), peak = median(peaks);
  std::printf("%s threads %d, %s/%lld: peak %.1f GFLOP/s   forward %8.0f us %6.1f GFLOP/s (%4.1f %%)   gradient %8.0f us %6.1f GFLOP/s (%4.1f %%) of 5 products\n",
              cpu_target_name(cpu_target()), threads, scene.name, static_cast<long long>(scene.width), peak * 1e-9, down * 1e6,
              2 * product / down * 1e-9, 2 * product / down / peak * 100, up * 1e6, 5 * product / up * 1e-9, 5 * product / up / peak * 100);
  std::fflush(stdout);
  for (const TensorView& tensor : {q, k, v, y, dy, dq, dk, dv, lse, ranges}) release(tensor);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<int64_t> numbers(const std::string& text) {
  std::vector<int64_t> values;
  for (const std::string& part : split(text, ',')) values.push_back(std::atoll(part.c_str()));
  return values;
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i++) {
    const std::string name = arguments[i];
    const std::string value = i + 1 < count ? arguments[++i] : "";
    if (name == "--dtype") {
      options.dtype = value == "f32" ? DType::kF32 : value == "f16" ? DType::kF16 : DType::kBF16;
    } else if (name == "--threads") {
      options.threads = numbers(value);
    } else if (name == "--rows") {
      options.rows = numbers(value);
    } else if (name == "--clock") {
      cpu_clock = value == "cpu";
    } else if (name == "--rounds") {
      options.rounds = std::max(1ll, std::atoll(value.c_str()));
    } else if (name == "--scenes") {
      options.scenes = numbers(value);
    } else if (name == "--only") {
      options.only = value;
    } else if (name == "--shapes") {
      options.shapes.clear();
      for (const std::string& part : split(value, ',')) {
        const auto sides = split(part, 'x');
        options.shapes.push_back({std::atoll(sides[0].c_str()), std::atoll(sides.back().c_str())});
      }
    } else {
      std::fprintf(stderr, "training_bench: unknown option %s\n", name.c_str());
      return 2;
    }
  }
  for (int64_t threads : options.threads) {
    if (options.only != "attention")
      for (const Shape& shape : options.shapes)
        for (int64_t rows : options.rows) bench_linear(options, shape, static_cast<int>(threads), rows);
    if (options.only != "linear")
      for (int64_t scene : options.scenes) bench_attention(options, kScenes[std::clamp<int64_t>(scene, 0, 1)], static_cast<int>(threads));
  }
  return 0;
}
#endif  // HEDDLE_ONCE
