// Speed of grouped_lora and its gradients for training: many tokens, f32 factors, against the multiply-add peak in the same seconds.
//
//   grouped_lora_training_bench [--tokens 512] [--adapters 1,3] [--rank 16] [--threads 1,2] [--shapes 576x576,2048x5632] [--rounds 9] [--clock wall]
//
// A shape is inputs x outputs of one site. Adapters take turns by runs of tokens / adapters tokens. Every round measures the peak, then
// every op once; medians are compared. HEDDLE_CPU_TARGET picks the target. --clock cpu counts processor time, divided by the threads.
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
#include "generated/op_table.h"
#include "kernels/grouped_lora/grouped_lora_layout.h"

#define HEDDLE_TARGET_FILE "../bench/native/grouped_lora_training_bench.cc"
#include "cpu/foreach_target.h"

#include "ceilings.h"

#if defined(HEDDLE_ONCE)
using namespace heddle;
using namespace heddle::ceilings;

namespace {

struct Options {
  std::vector<int64_t> tokens = {512}, adapters = {1, 3}, ranks = {16}, threads = {1, 2};
  std::vector<std::pair<int64_t, int64_t>> shapes = {{576, 576}, {576, 1536}, {2048, 2048}, {2048, 5632}, {5632, 2048}};
  int64_t rounds = 9;
};

struct Case {
  int64_t tokens, adapters, rank, inputs, outputs;
  int threads;
};

TensorView view(void* data, DType dtype, std::initializer_list<int64_t> dims) {
  TensorView tensor;
  tensor.data = data;
  tensor.dtype = dtype;
  for (int64_t dim : dims) tensor.dims[tensor.rank++] = dim;
  tensor.leading_stride = tensor.inner_elements();
  return tensor;
}

struct Floats {
  float* data;
  int64_t count;
};

Floats numbers_near_zero(int64_t count) {
  const Floats values = {reinterpret_cast<float*>(allocate(static_cast<size_t>(count) * sizeof(float))), count};
  uint32_t state = 12345;
  for (int64_t i = 0; i < count; i++) values.data[i] = static_cast<float>(static_cast<int32_t>(state = state * 1664525u + 1013904223u)) * 1e-11f;
  return values;
}

void bench(const Options& options, const Case& c) {
  const Floats x = numbers_near_zero(c.tokens * c.inputs), dx = numbers_near_zero(c.tokens * c.inputs);
  const Floats y = numbers_near_zero(c.tokens * c.outputs), dy = numbers_near_zero(c.tokens * c.outputs);
  std::vector<float> weight(static_cast<size_t>(c.tokens), 1.0f), dweight = weight;
  std::vector<int32_t> index(static_cast<size_t>(c.tokens)), rows, columns = {0, static_cast<int32_t>(c.outputs)};
  for (int64_t t = 0; t < c.tokens; t++) index[static_cast<size_t>(t)] = static_cast<int32_t>(t * c.adapters / c.tokens);
  std::vector<AdapterEntry> entries;
  int64_t unit = 0;
  const auto lay = [&](int64_t width) {
    const int32_t first = static_cast<int32_t>(rows.size());
    for (int64_t r = 0; r < c.rank; r++, unit += (width * 4 + kRowUnit - 1) / kRowUnit) rows.push_back(static_cast<int32_t>(unit));
    return first;
  };
  for (int64_t a = 0; a < c.adapters; a++) {
    const int32_t first_a = lay(c.inputs), first_b = lay(c.outputs);
    entries.push_back({EntryKind::kLowRank, static_cast<int32_t>(DType::kF32), static_cast<int32_t>(c.rank), first_a, first_b, -1, -1, 2.0f});
  }
  const Floats pool = numbers_near_zero(unit * kRowUnit / 4), gradients = numbers_near_zero(pool.count);

  const TensorView index_view = view(index.data(), DType::kI32, {c.tokens, 1}), weight_view = view(weight.data(), DType::kF32, {c.tokens, 1});
  const TensorView entries_view = view(entries.data(), DType::kI32, {c.adapters, 1, 8});
  const TensorView rows_view = view(rows.data(), DType::kI32, {static_cast<int64_t>(rows.size())});
  const TensorView pool_view = view(pool.data, DType::kU8, {pool.count * 4}), columns_view = view(columns.data(), DType::kI32, {2});
  const TensorView x_view = view(x.data, DType::kF32, {c.tokens, c.inputs}), dy_view = view(dy.data, DType::kF32, {c.tokens, c.outputs});
  const TensorView gradients_view = view(gradients.data, DType::kF32, {gradients.count});
  const auto route = [&](auto& args) {
    args.index = index_view, args.entries = entries_view, args.rows = rows_view, args.pool = pool_view, args.columns = columns_view;
    args.site = 0;
  };
  GroupedLoraArgs forward;
  GroupedLoraGradXArgs to_x;
  GroupedLoraGradFactorsArgs to_factors;
  GroupedLoraGradWeightArgs to_weight;
  route(forward), route(to_x), route(to_factors), route(to_weight);
  forward.x = to_factors.x = to_weight.x = x_view;
  forward.weight = to_x.weight = to_factors.weight = weight_view;
  forward.base = forward.y = view(y.data, DType::kF32, {c.tokens, c.outputs});
  to_x.dy = to_factors.dy = to_weight.dy = dy_view;
  to_x.base = to_x.dx = view(dx.data, DType::kF32, {c.tokens, c.inputs});
  to_factors.gradients = to_factors.accumulated = gradients_view;
  to_weight.base = to_weight.dweight = view(dweight.data(), DType::kF32, {c.tokens, 1});

  const size_t bytes = std::max({grouped_lora_cpu_workspace(forward, c.threads), grouped_lora_grad_x_cpu_workspace(to_x, c.threads),
                                 grouped_lora_grad_factors_cpu_workspace(to_factors, c.threads),
                                 grouped_lora_grad_weight_cpu_workspace(to_weight, c.threads)});
  std::vector<std::byte> workspace(bytes + 64);
  Machine machine{ThreadPool(c.threads), nullptr, 0, 0, std::vector<float>(static_cast<size_t>(c.threads) * 64, 0.0f)};
  std::byte* aligned = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64;
  CpuContext context{machine.pool, aligned, bytes};

  const double pass = 2.0 * static_cast<double>(c.tokens * c.rank * (c.inputs + c.outputs));
  struct Op {
    const char* name;
    double operations;
    std::vector<double> rates, shares;
  } ops[] = {{"forward", pass, {}, {}}, {"to x", pass, {}, {}}, {"to factors", 2 * pass, {}, {}}, {"to weights", pass, {}, {}}};
  const auto run = [&](size_t op) {
    switch (op) {
      case 0:
        return grouped_lora_cpu(forward, context);
      case 1:
        return grouped_lora_grad_x_cpu(to_x, context);
      case 2:
        return grouped_lora_grad_factors_cpu(to_factors, context);
      default:
        return grouped_lora_grad_weight_cpu(to_weight, context);
    }
  };
  for (int64_t round = 0; round <= options.rounds; round++)
    for (size_t op = 0; op < 4; op++) {
      const double peak = machine.peak(false);
      const int repeats = std::max(1, static_cast<int>(0.003 * peak / ops[op].operations));
      const double start = seconds(c.threads);
      for (int repeat = 0; repeat < repeats; repeat++) {
        const Status status = run(op);
        if (!status.ok()) {
          std::fprintf(stderr, "%s\n", status.message.c_str());
          std::exit(1);
        }
      }
      const double rate = ops[op].operations * repeats / (seconds(c.threads) - start);
      if (round == 0) continue;  // warms up
      ops[op].rates.push_back(rate);
      ops[op].shares.push_back(rate / peak);
    }
  std::printf("%s, %lldx%lld, rank %lld, %lld tokens, %lld adapters, %d threads:", cpu_target_name(cpu_target()), static_cast<long long>(c.inputs),
              static_cast<long long>(c.outputs), static_cast<long long>(c.rank), static_cast<long long>(c.tokens), static_cast<long long>(c.adapters),
              c.threads);
  for (const Op& op : ops) std::printf("  %s %.0f GFLOP/s (%.0f %%)", op.name, median(op.rates) * 1e-9, median(op.shares) * 100);
  std::printf("\n");
  std::fflush(stdout);
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
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i], value = i + 1 < count ? arguments[i + 1] : "";
    if (name == "--tokens") {
      options.tokens = numbers(value);
    } else if (name == "--adapters") {
      options.adapters = numbers(value);
    } else if (name == "--rank") {
      options.ranks = numbers(value);
    } else if (name == "--threads") {
      options.threads = numbers(value);
    } else if (name == "--rounds") {
      options.rounds = std::atoll(value.c_str());
    } else if (name == "--clock") {
      cpu_clock = value == "cpu";
    } else if (name == "--shapes") {
      options.shapes.clear();
      for (const std::string& part : split(value, ',')) {
        const auto sides = split(part, 'x');
        options.shapes.emplace_back(std::atoll(sides[0].c_str()), std::atoll(sides.back().c_str()));
      }
    } else {
      std::fprintf(stderr, "grouped_lora_training_bench: unknown option %s\n", name.c_str());
      return 2;
    }
  }
  for (const auto& [inputs, outputs] : options.shapes)
    for (int64_t tokens : options.tokens)
      for (int64_t adapters : options.adapters)
        for (int64_t rank : options.ranks)
          for (int64_t threads : options.threads) bench(options, {tokens, adapters, rank, inputs, outputs, static_cast<int>(threads)});
  return 0;
}
#endif  // HEDDLE_ONCE
