// Speed of grouped_lora on cold adapters against the read bandwidth measured in the same seconds, and next to the linear that it
// follows in a model.
//
//   grouped_lora_bench [--json] [--threads 1,2] [--adapters 1,8,16] [--rank 16] [--sites 2048:2048+256+256,5632:2048,..] [--tokens 1]
//                      [--rounds 15] [--clock wall] [--rows | --compact]
//
// A site is inputs:outputs, with + between sites that share x. Every adapter has `tokens` tokens. Each call takes adapters that no call
// used for some hundred megabytes. "after it": the time that linear and grouped_lora take together, less that of linear alone. --rows: the
// rows of B lie one by one instead of in groups. --compact: rows of 12 bits a number (compact_rows.h); the rates count their bytes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "bench_tensors.h"
#include "core/float16.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/op_table.h"
#include "kernels/grouped_lora/compact_rows.h"
#include "kernels/grouped_lora/grouped_lora_layout.h"
#include "kernels/linear/linear_pack.h"

#define HEDDLE_TARGET_FILE "../bench/native/grouped_lora_bench.cc"
#include "cpu/foreach_target.h"

#include "ceilings.h"

#if defined(HEDDLE_ONCE)
using namespace heddle;
using namespace heddle::ceilings;
using namespace heddle::bench;

namespace {

struct Site {
  int64_t inputs;
  std::vector<int64_t> outputs;

  int64_t columns() const {
    int64_t sum = 0;
    for (int64_t width : outputs) sum += width;
    return sum;
  }
  std::string name() const {
    std::string text = std::to_string(inputs) + ":";
    for (size_t i = 0; i < outputs.size(); i++) text += (i ? "+" : "") + std::to_string(outputs[i]);
    return text;
  }
};

struct Options {
  bool json = false, grouped = true, compact = false;
  std::vector<int64_t> threads = {1, 2}, adapters = {1, 8, 16};
  int64_t rank = 16, tokens = 1, rounds = 15;
  // The four sites of a layer of the 1.1 B shape, and two of the 163 M one.
  std::vector<Site> sites = {{2048, {2048, 256, 256}}, {2048, {2048}}, {2048, {5632, 5632}}, {5632, {2048}}, {576, {576, 192, 192}}, {1536, {576}}};
};

// As many adapters as fit into `bytes` of random numbers, as lib/adapters/placement.ts lays them out: rows one after another, those of B in
// groups, or compact rows.
struct Adapters {
  std::vector<AdapterEntry> entries;
  std::vector<int32_t> rows;
  int64_t slots, bytes_each;

  Adapters(const Site& site, const Options& options, std::byte* memory, size_t bytes) {
    const int64_t rank = options.rank;
    if (options.compact) {
      place_compact(site, rank, memory, bytes);
      return;
    }
    const bool grouped = options.grouped;
    const auto row_bytes = [](int64_t width) { return (width * 2 + kRowUnit - 1) / kRowUnit * kRowUnit; };
    bytes_each = 0;
    for (int64_t outputs : site.outputs) bytes_each += rank * (row_bytes(site.inputs) + row_bytes(outputs));
    slots = static_cast<int64_t>(bytes) / bytes_each;
    const int32_t dtype = static_cast<int32_t>(DType::kBF16) | (grouped ? kInGroups : 0);
    int64_t at = 0;
    const auto place = [&](int64_t width, bool grouped_b) {
      const int32_t first = static_cast<int32_t>(rows.size());
      for (int64_t row = 0; row < rank; row++, at += row_bytes(width))
        if (!grouped_b || row % kGroupRows == 0) rows.push_back(static_cast<int32_t>(at / kRowUnit));
      return first;
    };
    for (int64_t slot = 0; slot < slots; slot++)
      for (int64_t outputs : site.outputs) {
        const int32_t first_a = place(site.inputs, false), first_b = place(outputs, grouped);
        entries.push_back({EntryKind::kLowRank, dtype, static_cast<int32_t>(rank), first_a, first_b, -1, -1, 0.5f});
      }
  }

  // Overwrites the memory.
  void place_compact(const Site& site, int64_t rank, std::byte* memory, size_t bytes) {
    const auto groups = [&](int64_t width, const auto& each) {
      for (int64_t row = 0; row < rank; row += kGroupRows) each(std::min<int64_t>(kGroupRows, rank - row), width);
    };
    int64_t widest = site.inputs;
    bytes_each = 0;
    const auto count = [&](int64_t rows, int64_t width) { bytes_each += CompactGroupShape(rows, width).bytes(); };
    for (int64_t outputs : site.outputs) {
      groups(site.inputs, count);
      groups(outputs, count);
      widest = std::max(widest, outputs);
    }
    slots = static_cast<int64_t>(bytes) / bytes_each;
    std::vector<uint16_t> numbers(static_cast<size_t>(widest * kGroupRows));
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.02f);
    for (uint16_t& number : numbers) number = f32_to_bf16(normal(random));
    int64_t at = 0;
    const auto place = [&](int64_t rows_in_group, int64_t width) {
      rows.push_back(static_cast<int32_t>(at / kRowUnit));
      std::byte* const to = memory + at;
      const int64_t size = CompactGroupShape(rows_in_group, width).bytes();
      std::memset(to, 0, static_cast<size_t>(size));
      if (!make_compact_rows(numbers.data(), rows_in_group, width, reinterpret_cast<uint8_t*>(to))) std::abort();
      at += size;
    };
    for (int64_t slot = 0; slot < slots; slot++)
      for (int64_t outputs : site.outputs) {
        const int32_t first_a = static_cast<int32_t>(rows.size());
        groups(site.inputs, place);
        const int32_t first_b = static_cast<int32_t>(rows.size());
        groups(outputs, place);
        entries.push_back({EntryKind::kLowRank, static_cast<int32_t>(DType::kBF16) | kCompactRows, static_cast<int32_t>(rank), first_a, first_b, -1, -1, 0.5f});
      }
  }
};

void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message.c_str());
  std::exit(1);
}

struct Bench {
  const Options& options;
  const Site& site;
  int threads;
  int64_t count;  // adapters in a call
  Machine& machine;
  std::byte* memory;  // of the adapters
  size_t bytes;
  std::byte* weights;
  size_t weights_bytes;

  void run(bool& first) {
    Adapters adapters(site, options, memory, bytes);
    const int64_t tokens = count * options.tokens, columns = site.columns(), sites = static_cast<int64_t>(site.outputs.size());
    std::vector<float> x(static_cast<size_t>(tokens * site.inputs)), y(static_cast<size_t>(tokens * columns)), ones(static_cast<size_t>(tokens), 1.0f);
    fill(DType::kF32, reinterpret_cast<std::byte*>(x.data()), x.size() * 4);
    std::vector<int32_t> index(static_cast<size_t>(tokens)), edges = {0};
    for (int64_t outputs : site.outputs) edges.push_back(edges.back() + static_cast<int32_t>(outputs));
    GroupedLoraArgs lora;
    lora.x = view(x.data(), DType::kF32, {tokens, site.inputs});
    lora.base = lora.y = view(y.data(), DType::kF32, {tokens, columns});
    lora.index = view(index.data(), DType::kI32, {tokens, 1});
    lora.weight = view(ones.data(), DType::kF32, {tokens, 1});
    lora.entries = view(adapters.entries.data(), DType::kI32, {adapters.slots, sites, 8});
    lora.rows = view(adapters.rows.data(), DType::kI32, {static_cast<int64_t>(adapters.rows.size())});
    lora.pool = view(memory, DType::kU8, {static_cast<int64_t>(bytes)});
    lora.columns = view(edges.data(), DType::kI32, {sites + 1});
    lora.site = 0;
    LinearArgs linear;
    const int64_t inner = linear_inner(site.inputs);
    linear.weight = view(weights, DType::kBF16, {linear_panels(columns), inner / 2, 32});
    linear.activation = LinearActivation::kFast;
    linear.x = lora.x;
    linear.y = lora.y;
    const size_t weight_bytes = (linear_packed_bytes(DType::kBF16, columns, site.inputs) + 63) / 64 * 64;
    const size_t workspace_bytes = std::max(grouped_lora_cpu_workspace(lora, threads), linear_cpu_workspace(linear, threads));
    std::vector<std::byte> workspace(workspace_bytes + 64);
    CpuContext context{machine.pool, workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64, workspace_bytes};

    int64_t slot = 0;
    size_t copy = 0;
    const auto turn = [&] {
      for (int64_t token = 0; token < tokens; token++)
        index[static_cast<size_t>(token)] = static_cast<int32_t>((slot + token / options.tokens) % adapters.slots);
      slot += count;
    };
    const auto add = [&] { must(grouped_lora_cpu(lora, context)); };
    const auto multiply = [&] {
      linear.weight.data = weights + (copy++ % (weights_bytes / weight_bytes)) * weight_bytes;
      must(linear_cpu(linear, context));
    };
    std::vector<double> alone, base, both, bandwidths;
    const double adapter_bytes = static_cast<double>(count * adapters.bytes_each);
    for (int64_t round = 0; round <= options.rounds; round++) {
      const double bandwidth = machine.bandwidth();
      const int repeats = std::max(1, static_cast<int>(0.002 / (adapter_bytes / bandwidth)));
      const auto time = [&](int times, const auto& body) {
        const double start = seconds(threads);
        for (int i = 0; i < times; i++) body();
        return (seconds(threads) - start) / times;
      };
      const int fewer = std::max(1, repeats / 4);
      const double one = time(repeats, [&] { turn(), add(); }), two = time(fewer, multiply);
      const double three = time(fewer, [&] { turn(), multiply(), add(); });
      if (round == 0) continue;  // warms up
      bandwidths.push_back(bandwidth);
      alone.push_back(one);
      base.push_back(two);
      both.push_back(three - two);
    }
    const double rate = adapter_bytes / median(alone), bandwidth = median(bandwidths);
    if (options.json)
      std::printf("%s\n  {\"target\": \"%s\", \"site\": \"%s\", \"rank\": %lld, \"adapters\": %lld, \"tokens\": %lld, \"threads\": %d, \"seconds\": %.4g, "
                  "\"gb_per_s\": %.2f, \"of_bandwidth\": %.3f, \"linear_seconds\": %.4g, \"after_linear_seconds\": %.4g}",
                  first ? "[" : ",", cpu_target_name(cpu_target()), site.name().c_str(), static_cast<long long>(options.rank),
                  static_cast<long long>(count), static_cast<long long>(tokens), threads, median(alone), rate * 1e-9, rate / bandwidth, median(base),
                  median(both));
    else
      std::printf("  adapters %2lld  %8.1f us  %5.1f GB/s  of read %5.1f %%   linear %8.1f us, after it %7.1f us: both at %4.1f %% of linear's speed\n",
                  static_cast<long long>(count), median(alone) * 1e6, rate * 1e-9, rate / bandwidth * 100, median(base) * 1e6, median(both) * 1e6,
                  100 * median(base) / (median(base) + median(both)));
    first = false;
    std::fflush(stdout);
  }
};

}  // namespace

int main(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i++) {
    const std::string name = arguments[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (name == "--rows") {
      options.grouped = false;
      continue;
    }
    if (name == "--compact") {
      options.compact = true;
      continue;
    }
    const std::string value = i + 1 < count ? arguments[++i] : "";
    if (name == "--threads") {
      options.threads = numbers(value);
    } else if (name == "--adapters") {
      options.adapters = numbers(value);
    } else if (name == "--rank") {
      options.rank = std::atoll(value.c_str());
    } else if (name == "--tokens") {
      options.tokens = std::atoll(value.c_str());
    } else if (name == "--clock") {
      cpu_clock = value == "cpu";
    } else if (name == "--rounds") {
      options.rounds = std::atoll(value.c_str());
    } else if (name == "--sites") {
      options.sites.clear();
      for (const std::string& part : split(value, ',')) {
        const auto sides = split(part, ':');
        options.sites.push_back({std::atoll(sides[0].c_str()), numbers(sides.back(), '+')});
      }
    } else {
      std::fprintf(stderr, "grouped_lora_bench: unknown option %s\n", name.c_str());
      return 2;
    }
  }
  const size_t bytes = size_t{256} << 20;
  std::byte* memory = allocate(2 * bytes);
  fill(DType::kBF16, memory, 2 * bytes);
  bool first = true;
  for (int64_t threads : options.threads) {
    Machine machine{ThreadPool(static_cast<int>(threads)), memory, 2 * bytes, 0, std::vector<float>(static_cast<size_t>(threads) * 64, 0.0f)};
    for (const Site& site : options.sites) {
      if (!options.json)
        std::printf("%s, site %s, rank %lld, threads %lld: read %.1f GB/s\n", cpu_target_name(cpu_target()), site.name().c_str(),
                    static_cast<long long>(options.rank), static_cast<long long>(threads), machine.bandwidth() * 1e-9);
      for (int64_t adapters : options.adapters)
        Bench{options, site, static_cast<int>(threads), adapters, machine, memory, bytes, memory + bytes, bytes}.run(first);
    }
  }
  if (options.json) std::printf("\n]\n");
  return 0;
}
#endif  // HEDDLE_ONCE
