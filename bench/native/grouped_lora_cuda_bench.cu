// grouped_lora on a GPU over the shapes of the field, cold adapters, against the byte floor at the bandwidth measured in the same run.
//
//   grouped_lora_cuda_bench [--quick] [--seed N]
//
// Prints one JSON object per line: {"bench": "grouped_lora", "inputs", "outputs", "rank", "tokens", "population", "us", "floor_us", ...}.
// The floor counts each distinct adapter's true-rank factors once, x once, y read and written once. bench/gpu/peers.py prints the same
// keys for the peers, so that tools/gpu/summary.py can set them side by side.
#include <cmath>
#include <cstring>
#include <set>

#include "cuda_timing.cuh"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/grouped_lora_layout.h"

using namespace heddle;
using namespace heddle::bench;

namespace {

struct Shape {
  int64_t inputs, outputs;
};

// Groups of tokens that share an adapter, as benchmarks of the field name them.
std::vector<int32_t> populate(const std::string& population, int64_t tokens) {
  std::vector<int32_t> index(static_cast<size_t>(tokens));
  const auto groups = [&](int64_t count) {
    for (int64_t t = 0; t < tokens; t++) index[static_cast<size_t>(t)] = static_cast<int32_t>(t * count / tokens);
  };
  if (population == "identical") groups(1);
  if (population == "distinct") groups(tokens);
  if (population == "uniform") groups(std::max<int64_t>(1, static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(tokens))))));
  if (population == "skewed")
    for (int64_t t = 0; t < tokens; t++) index[static_cast<size_t>(t)] = t == 0 ? 0 : 1;
  if (population == "quarter-base")
    for (int64_t t = 0; t < tokens; t++) index[static_cast<size_t>(t)] = t % 4 == 3 ? -1 : static_cast<int32_t>(t);
  if (population == "zipf") {  // sizes 1.5^k, largest first
    std::vector<int64_t> sizes;
    int64_t left = tokens;
    for (double size = 1; left > 0; size *= 1.5) {
      const int64_t take = std::min<int64_t>(left, static_cast<int64_t>(size));
      sizes.push_back(take);
      left -= take;
    }
    std::sort(sizes.rbegin(), sizes.rend());
    size_t t = 0;
    for (size_t adapter = 0; adapter < sizes.size(); adapter++)
      for (int64_t i = 0; i < sizes[adapter]; i++) index[t++] = static_cast<int32_t>(adapter);
  }
  return index;
}

struct Adapters {
  std::vector<AdapterEntry> entries;
  std::vector<int32_t> rows;
  int64_t bytes = 0;

  // `ranks` are given to adapters in turn.
  Adapters(const Shape& shape, const std::vector<int64_t>& ranks, int64_t count) {
    const auto place = [&](int64_t rank, int64_t width) {
      const auto first = static_cast<int32_t>(rows.size());
      for (int64_t r = 0; r < rank; r++) {
        rows.push_back(static_cast<int32_t>(bytes / kRowUnit));
        bytes += (width * 2 + kRowUnit - 1) / kRowUnit * kRowUnit;
      }
      return first;
    };
    for (int64_t i = 0; i < count; i++) {
      const int64_t rank = ranks[static_cast<size_t>(i) % ranks.size()];
      const int32_t a = place(rank, shape.inputs), b = place(rank, shape.outputs);
      entries.push_back({EntryKind::kLowRank, static_cast<int32_t>(DType::kBF16), static_cast<int32_t>(rank), a, b, -1, -1, 0.5f});
    }
  }
};

float from_bits(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

// Largest relative error of a few tokens' outputs against float64 sums over the same bits.
double check(const Shape& shape, const Adapters& adapters, const std::vector<int32_t>& index, const std::vector<uint16_t>& pool,
             const std::vector<float>& x, const std::vector<float>& y) {
  double worst = 0;
  const auto tokens = static_cast<int64_t>(index.size());
  for (int64_t t : std::set<int64_t>{0, tokens / 2, tokens - 1}) {
    double error = 0, size = 0;
    std::vector<double> expected(static_cast<size_t>(shape.outputs), 0.0);
    if (index[static_cast<size_t>(t)] >= 0) {
      const AdapterEntry& entry = adapters.entries[static_cast<size_t>(index[static_cast<size_t>(t)])];
      for (int64_t r = 0; r < entry.rank; r++) {
        const uint16_t* a = pool.data() + int64_t{adapters.rows[static_cast<size_t>(entry.first_a + r)]} * (kRowUnit / 2);
        const uint16_t* b = pool.data() + int64_t{adapters.rows[static_cast<size_t>(entry.first_b + r)]} * (kRowUnit / 2);
        double u = 0;
        for (int64_t i = 0; i < shape.inputs; i++) u += static_cast<double>(from_bits(a[i])) * x[static_cast<size_t>(t * shape.inputs + i)];
        for (int64_t n = 0; n < shape.outputs; n++) expected[static_cast<size_t>(n)] += entry.scale * u * from_bits(b[n]);
      }
    }
    for (int64_t n = 0; n < shape.outputs; n++) {
      const double e = expected[static_cast<size_t>(n)], d = y[static_cast<size_t>(t * shape.outputs + n)] - e;
      error += d * d;
      size += e * e;
    }
    worst = std::max(worst, std::isfinite(error) ? std::sqrt(error / std::max(size, 1e-30)) : INFINITY);
  }
  return worst;
}

void measure(Machine& machine, double bandwidth, const Shape& shape, const std::vector<int64_t>& ranks, const char* rank_name, int64_t tokens,
             const std::string& population) {
  const std::vector<int32_t> index = populate(population, tokens);
  const int64_t distinct = *std::max_element(index.begin(), index.end()) + 1;
  // Sets of adapters that together are several times the L2, so that every call finds its own cold.
  const Adapters one(shape, ranks, distinct);
  const int sets = static_cast<int>(std::clamp<int64_t>(static_cast<int64_t>(4 * machine.context.limits.l2_bytes) / std::max<int64_t>(one.bytes, 1), 1, 64));
  const Adapters all(shape, ranks, distinct * sets);
  DeviceArray<uint16_t> pool(static_cast<size_t>(all.bytes / 2));
  fill_bf16<<<1024, 256, 0, machine.context.stream>>>(pool.data(), all.bytes / 2, 7);
  DeviceArray<float> x(static_cast<size_t>(tokens * shape.inputs)), y(static_cast<size_t>(tokens * shape.outputs));
  fill_f32<<<1024, 256, 0, machine.context.stream>>>(x.data(), tokens * shape.inputs, 11);
  must(cudaStreamSynchronize(machine.context.stream));
  DeviceArray<float> weight(std::vector<float>(static_cast<size_t>(tokens), 1.0f));
  std::vector<int32_t> packed(all.entries.size() * 8);
  std::memcpy(packed.data(), all.entries.data(), packed.size() * 4);
  DeviceArray<int32_t> entries(packed), rows(all.rows), columns(std::vector<int32_t>{0, static_cast<int32_t>(shape.outputs)});
  std::vector<std::unique_ptr<DeviceArray<int32_t>>> indexes;
  for (int set = 0; set < sets; set++) {
    std::vector<int32_t> mine = index;
    for (int32_t& slot : mine)
      if (slot >= 0) slot += static_cast<int32_t>(set * distinct);
    indexes.push_back(std::make_unique<DeviceArray<int32_t>>(mine));
  }
  GroupedLoraArgs args{};
  args.x = view(x.data(), DType::kF32, {tokens, shape.inputs});
  args.base = args.y = view(y.data(), DType::kF32, {tokens, shape.outputs});
  args.weight = view(weight.data(), DType::kF32, {tokens, 1});
  args.entries = view(entries.data(), DType::kI32, {static_cast<int64_t>(all.entries.size()), 1, 8});
  args.rows = view(rows.data(), DType::kI32, {static_cast<int64_t>(all.rows.size())});
  args.pool = view(pool.data(), DType::kU8, {all.bytes});
  args.columns = view(columns.data(), DType::kI32, {2});
  args.site = 0;
  args.index = view(indexes[0]->data(), DType::kI32, {tokens, 1});
  const size_t workspace_bytes = grouped_lora_cuda_workspace(args, machine.context.limits);
  DeviceArray<std::byte> workspace(workspace_bytes);
  machine.context.workspace = workspace.data();
  machine.context.workspace_bytes = workspace_bytes;
  const auto call = [&](int i) {
    args.index.data = indexes[static_cast<size_t>(i % sets)]->data();
    must(grouped_lora_cuda(args, machine.context));
  };
  must(cudaMemset(y.data(), 0, y.size() * 4));
  call(0);
  must(cudaStreamSynchronize(machine.context.stream));
  machine.expect_no_refusal();
  const double error = check(shape, all, index, pool.get(), x.get(), y.get());
  const double us = machine.time(std::max(sets, 8), 15, call);
  const double bytes = static_cast<double>(one.bytes) + 4.0 * tokens * shape.inputs + 8.0 * tokens * shape.outputs;
  const double floor_us = bytes / bandwidth * 1e6;
  std::printf("{\"bench\": \"grouped_lora\", \"side\": \"heddle\", \"inputs\": %lld, \"outputs\": %lld, \"rank\": \"%s\", \"tokens\": %lld, \"population\": \"%s\", "
              "\"distinct\": %lld, \"bytes\": %.0f, \"us\": %.3f, \"floor_us\": %.3f, \"of_floor\": %.3f, \"error\": %.2e}\n",
              static_cast<long long>(shape.inputs), static_cast<long long>(shape.outputs), rank_name, static_cast<long long>(tokens),
              population.c_str(), static_cast<long long>(distinct), bytes, us, floor_us, floor_us / us, error);
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && std::string(arguments[1]) == "--quick";
  Machine machine;
  const double bandwidth = machine.copy_bandwidth();
  std::printf("{\"bench\": \"machine\", \"device\": \"%s\", \"multiprocessors\": %d, \"copy_gb_per_s\": %.1f}\n", machine.properties.name,
              machine.properties.multiProcessorCount, bandwidth * 1e-9);
  const std::vector<Shape> shapes = quick ? std::vector<Shape>{{4096, 4096}, {4096, 14336}, {14336, 4096}}
                                          : std::vector<Shape>{{4096, 4096}, {4096, 1024}, {4096, 14336}, {14336, 4096}, {8192, 8192}, {8192, 28672}};
  const std::vector<std::pair<const char*, std::vector<int64_t>>> ranks = {
      {"8", {8}}, {"16", {16}}, {"32", {32}}, {"64", {64}}, {"128", {128}}, {"mixed", {8, 16, 32, 64}}};
  const std::vector<int64_t> tokens = quick ? std::vector<int64_t>{1, 8, 32, 128, 2048} : std::vector<int64_t>{1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 8192};
  for (const Shape& shape : shapes)
    for (const auto& [name, list] : ranks)
      for (int64_t t : tokens) {
        if (quick && std::string(name) != "16" && std::string(name) != "64" && std::string(name) != "mixed") continue;
        measure(machine, bandwidth, shape, list, name, t, "identical");
        if (t > 1 && t <= 128) measure(machine, bandwidth, shape, list, name, t, "distinct");
        if (t < 8) continue;
        measure(machine, bandwidth, shape, list, name, t, "uniform");
        if (quick && t != 32) continue;
        measure(machine, bandwidth, shape, list, name, t, "zipf");
        measure(machine, bandwidth, shape, list, name, t, "skewed");
        if (t <= 128) measure(machine, bandwidth, shape, list, name, t, "quarter-base");
      }
  return 0;
}
