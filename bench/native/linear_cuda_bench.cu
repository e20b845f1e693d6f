// linear on a GPU: bf16 weights, cold, against the larger of the byte floor and the floor of the measured matrix rate.
//
//   linear_cuda_bench [--tflops 790]
//
// Prints JSON lines as grouped_lora_cuda_bench does. HEDDLE_CUBLASLT=off times our own kernels.
#include <cmath>
#include <cstring>
#include <memory>

#include "cuda_timing.cuh"
#include "generated/linear_ops.h"
#include "kernels/linear/linear_pack.h"

using namespace heddle;
using namespace heddle::bench;

namespace {

void measure(Machine& machine, double bandwidth, double flops, int64_t outputs, int64_t k, int64_t m) {
  const int64_t panels = linear_panels(outputs), inner = linear_inner(k);
  const auto weight_elements = static_cast<size_t>(panels * 16 * inner);
  const int sets = static_cast<int>(std::clamp<size_t>(4 * machine.context.limits.l2_bytes / (weight_elements * 2), 1, 32));
  std::vector<std::unique_ptr<DeviceArray<uint16_t>>> weights;
  for (int set = 0; set < sets; set++) {
    weights.push_back(std::make_unique<DeviceArray<uint16_t>>(weight_elements));
    fill_bf16<<<1024, 256, 0, machine.context.stream>>>(weights.back()->data(), static_cast<int64_t>(weight_elements), static_cast<uint32_t>(set));
  }
  DeviceArray<float> x(static_cast<size_t>(m * k)), y(static_cast<size_t>(m * outputs));
  fill_f32<<<1024, 256, 0, machine.context.stream>>>(x.data(), m * k, 3);
  must(cudaStreamSynchronize(machine.context.stream));
  LinearArgs args{};
  args.x = view(x.data(), DType::kF32, {m, k});
  args.weight = view(weights[0]->data(), DType::kBF16, {panels, inner / 2, 32});
  args.y = view(y.data(), DType::kF32, {m, outputs});
  args.activation = LinearActivation::kFast;
  const size_t workspace_bytes = linear_cuda_workspace(args, machine.context.limits);
  DeviceArray<std::byte> workspace(workspace_bytes);
  machine.context.workspace = workspace.data();
  machine.context.workspace_bytes = workspace_bytes;
  must(linear_cuda(args, machine.context));
  must(cudaStreamSynchronize(machine.context.stream));
  // One row against float64 sums.
  std::vector<uint16_t> w = weights[0]->get();
  std::vector<float> xs = x.get(), ys = y.get();
  double error = 0, size = 0;
  for (int64_t n = 0; n < outputs; n += std::max<int64_t>(1, outputs / 512)) {
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
      const uint32_t wide = static_cast<uint32_t>(w[static_cast<size_t>(n * inner + i)]) << 16;
      float value;
      std::memcpy(&value, &wide, 4);
      sum += static_cast<double>(value) * xs[static_cast<size_t>((m - 1) * k + i)];
    }
    const double d = ys[static_cast<size_t>((m - 1) * outputs + n)] - sum;
    error += d * d;
    size += sum * sum;
  }
  const double us = machine.time(std::max(sets, 8), 15, [&](int i) {
    args.weight.data = weights[static_cast<size_t>(i % sets)]->data();
    must(linear_cuda(args, machine.context));
  });
  const double bytes = 2.0 * outputs * k + 4.0 * m * (k + outputs);
  const double floor_us = std::max(bytes / bandwidth, 2.0 * m * k * outputs / flops) * 1e6;
  std::printf("{\"bench\": \"linear\", \"side\": \"heddle\", \"inputs\": %lld, \"outputs\": %lld, \"tokens\": %lld, \"bytes\": %.0f, \"us\": %.3f, "
              "\"floor_us\": %.3f, \"of_floor\": %.3f, \"error\": %.2e}\n",
              static_cast<long long>(k), static_cast<long long>(outputs), static_cast<long long>(m), bytes, us, floor_us, floor_us / us,
              std::sqrt(error / std::max(size, 1e-30)));
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  const double flops = (count > 2 && std::string(arguments[1]) == "--tflops" ? std::atof(arguments[2]) : 790.0) * 1e12;
  Machine machine;
  const double bandwidth = machine.copy_bandwidth();
  const std::pair<int64_t, int64_t> shapes[] = {{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}, {128256, 4096}};
  for (const auto& [outputs, k] : shapes)
    for (int64_t m : {1, 2, 4, 8, 16, 32, 64, 128, 512, 2048}) measure(machine, bandwidth, flops, outputs, k, m);
  return 0;
}
