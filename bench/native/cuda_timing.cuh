// What the CUDA benches share: device arrays, times of launches replayed from a graph, the copy bandwidth of the same minute.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "cuda/cuda_context.h"

namespace heddle::bench {

inline void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message.c_str());
  std::exit(1);
}
inline void must(cudaError_t error) { must(error == cudaSuccess ? Status::success() : cuda_status(error, "bench")); }

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) { must(cudaMalloc(reinterpret_cast<void**>(&data_), std::max<size_t>(count, 1) * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { set(values); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void set(const std::vector<T>& values) { must(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice)); }
  std::vector<T> get() const {
    std::vector<T> values(count_);
    must(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  T* data() const { return data_; }
  size_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// Small values of both signs from a counter: never zeros, which run faster than real data.
__global__ void fill_bf16(uint16_t* to, int64_t count, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    const float value = (static_cast<float>(h & 0xffff) / 32768.0f - 1.0f) * 0.05f;
    to[i] = static_cast<uint16_t>(__float_as_uint(value) >> 16);
  }
}
__global__ void fill_f32(float* to, int64_t count, uint32_t seed) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    to[i] = static_cast<float>(h & 0xffff) / 32768.0f - 1.0f;
  }
}

// A device and the context that kernels get; its stream is captured for timing.
struct Machine {
  cudaDeviceProp properties;
  CudaContext context;
  FailureSlot* slot = nullptr;

  Machine() {
    must(cudaGetDeviceProperties(&properties, 0));
    must(cudaStreamCreateWithFlags(&context.stream, cudaStreamNonBlocking));
    must(cudaMalloc(reinterpret_cast<void**>(&slot), sizeof(FailureSlot)));
    must(cudaMemset(slot, 0, sizeof(FailureSlot)));
    must(cudaMalloc(reinterpret_cast<void**>(&context.counters), kCounters * sizeof(int32_t)));
    must(cudaMemset(context.counters, 0, kCounters * sizeof(int32_t)));
    context.failure_slot = slot;
    context.limits.compute_major = properties.major;
    context.limits.compute_minor = properties.minor;
    context.limits.multiprocessors = properties.multiProcessorCount;
    context.limits.threads_per_multiprocessor = properties.maxThreadsPerMultiProcessor;
    context.limits.shared_per_block = properties.sharedMemPerBlockOptin;
    context.limits.shared_per_multiprocessor = properties.sharedMemPerMultiprocessor;
    context.limits.l2_bytes = static_cast<size_t>(properties.l2CacheSize);
  }

  // Whether a kernel refused its data since the last time.
  void expect_no_refusal() const {
    FailureSlot found;
    must(cudaMemcpy(&found, slot, sizeof found, cudaMemcpyDeviceToHost));
    if (found.code == 0) return;
    std::fprintf(stderr, "a kernel refused its data (code %d)\n", found.code);
    std::exit(1);
  }

  // Median microseconds of body(i), of which `calls` are captured in one graph: launch gaps are those of a real step.
  double time(int calls, int repeats, const std::function<void(int)>& body) {
    body(0);  // loads the kernels
    must(cudaStreamSynchronize(context.stream));
    must(cudaStreamBeginCapture(context.stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < calls; i++) body(i);
    cudaGraph_t graph;
    must(cudaStreamEndCapture(context.stream, &graph));
    cudaGraphExec_t exec;
    must(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t begin, end;
    must(cudaEventCreate(&begin));
    must(cudaEventCreate(&end));
    std::vector<double> times;
    for (int i = 0; i < repeats + 2; i++) {
      must(cudaEventRecord(begin, context.stream));
      must(cudaGraphLaunch(exec, context.stream));
      must(cudaEventRecord(end, context.stream));
      must(cudaEventSynchronize(end));
      float milliseconds = 0;
      must(cudaEventElapsedTime(&milliseconds, begin, end));
      if (i >= 2) times.push_back(milliseconds * 1e3 / calls);
    }
    must(cudaEventDestroy(begin));
    must(cudaEventDestroy(end));
    must(cudaGraphExecDestroy(exec));
    must(cudaGraphDestroy(graph));
    expect_no_refusal();
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  // Bytes read and written per second by a large copy on the device.
  double copy_bandwidth() {
    const size_t bytes = size_t{1} << 31;
    DeviceArray<std::byte> from(bytes), to(bytes);
    const double us = time(4, 9, [&](int) { must(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, context.stream)); });
    return 2.0 * static_cast<double>(bytes) / (us * 1e-6);
  }
};

inline TensorView view(void* data, DType dtype, std::initializer_list<int64_t> dims) {
  TensorView made;
  made.data = data;
  made.dtype = dtype;
  made.rank = static_cast<uint8_t>(dims.size());
  std::copy(dims.begin(), dims.end(), made.dims);
  made.leading_stride = made.inner_elements();
  return made;
}

}  // namespace heddle::bench
