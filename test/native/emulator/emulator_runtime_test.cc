// Streams, events, graphs, memory and the faults that tests ask the emulated runtime for.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>

#include "emulated_device.h"

using namespace heddle;
using heddle::test::EmulatedDevice;
using heddle::test::Environment;

namespace {

__global__ void add_kernel(int* to, int value) { to[threadIdx.x] += value; }
__global__ void copy_kernel(const int* from, int* to) { to[threadIdx.x] = from[threadIdx.x]; }
__global__ void barrier_fault_kernel() {
  if (threadIdx.x == 0) __syncthreads();
}

const LaunchShape kOne{dim3(1), 1};

cudaStream_t new_stream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, flags);
  return stream;
}

cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  return event;
}

int* pinned_int(int value) {
  int* pointer = nullptr;
  cudaMallocHost(&pointer, sizeof(int));
  *pointer = value;
  return pointer;
}

bool launch_ok(const Status& status) { return status.ok(); }

}  // namespace

TEST("nothing happens before somebody waits") {
  EmulatedDevice device;
  const cudaStream_t stream = device.context.stream;
  int* host = pinned_int(7);
  int* at = device.allocate<int>(1);
  int* back = pinned_int(-1);
  cudaMemcpyAsync(at, host, sizeof(int), cudaMemcpyHostToDevice, stream);
  CHECK(launch_ok(device.context.launch("add", add_kernel, kOne, at, 1)));
  cudaMemcpyAsync(back, at, sizeof(int), cudaMemcpyDeviceToHost, stream);
  CHECK_EQUAL(*back, -1);  // a missing wait shows
  *host = 20;              // pinned memory is read when the copy is carried out
  cudaStreamSynchronize(stream);
  CHECK_EQUAL(*back, 21);
  cudaFreeHost(host);
  cudaFreeHost(back);
}

TEST("pageable memory is read at the call and written at the call") {
  EmulatedDevice device;
  int value = 7, back = -1;
  int* at = device.allocate<int>(1);
  cudaMemcpyAsync(at, &value, sizeof value, cudaMemcpyHostToDevice, device.context.stream);
  value = 8;
  cudaMemcpyAsync(&back, at, sizeof back, cudaMemcpyDeviceToHost, device.context.stream);
  CHECK_EQUAL(back, 7);
  cudaMemsetAsync(at, 1, sizeof(int), device.context.stream);
  cudaMemcpyAsync(&back, at, sizeof back, cudaMemcpyDeviceToHost, device.context.stream);
  CHECK_EQUAL(back, 0x01010101);
}

// In a child process, which the fault ends.
TEST("host code that touches device memory faults") {
  EmulatedDevice device;
  int* at = device.upload(std::vector<int>{5});
  cudaStreamSynchronize(device.context.stream);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGALRM, SIG_DFL);
    alarm(20);
    _exit(*static_cast<volatile int*>(at) == 5 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST("a stream that waits for an event sees what came before it, another does not") {
  EmulatedDevice device;
  const cudaStream_t first = device.context.stream, second = new_stream();
  int* from = device.upload(std::vector<int>{5});
  int* to = device.upload(std::vector<int>{0});
  cudaStreamSynchronize(first);
  const cudaEvent_t event = new_event();
  CHECK(launch_ok(device.context.launch("add", add_kernel, kOne, from, 1)));
  cudaEventRecord(event, first);
  CudaContext other = device.context;
  other.stream = second;
  CHECK(launch_ok(other.launch("copy", copy_kernel, kOne, from, to)));
  cudaStreamSynchronize(second);
  CHECK_EQUAL(device.download(to, 1)[0], 5);  // not waited: the addition is still to come
  CHECK(launch_ok(device.context.launch("add", add_kernel, kOne, from, 1)));
  cudaEventRecord(event, first);
  CHECK(launch_ok(device.context.launch("add", add_kernel, kOne, from, 100)));  // after the event
  cudaStreamWaitEvent(second, event);
  CHECK(launch_ok(other.launch("copy", copy_kernel, kOne, from, to)));
  cudaStreamSynchronize(second);
  int seen = 0;
  cudaMemcpyAsync(&seen, to, sizeof seen, cudaMemcpyDeviceToHost, second);
  CHECK_EQUAL(seen, 7);
  CHECK_EQUAL(cudaEventQuery(event), cudaSuccess);
  CHECK_EQUAL(device.download(from, 1)[0], 107);
  cudaEventDestroy(event);
  cudaStreamDestroy(second);
}

TEST("the time between two events") {
  EmulatedDevice device;
  cudaEvent_t from, to;
  cudaEventCreate(&from);
  cudaEventCreate(&to);
  float milliseconds = -1.0f;
  CHECK_EQUAL(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorInvalidResourceHandle);
  cudaEventRecord(from, device.context.stream);
  cudaEventRecord(to, device.context.stream);
  CHECK_EQUAL(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorNotReady);
  cudaEventSynchronize(to);
  CHECK_EQUAL(cudaEventElapsedTime(&milliseconds, from, to), cudaSuccess);
  CHECK(milliseconds >= 0.0f);
  cudaEventDestroy(from);
  cudaEventDestroy(to);
}

TEST("a graph replays with the arguments of its capture") {
  EmulatedDevice device;
  const cudaStream_t stream = device.context.stream, side = new_stream();
  int* at = device.upload(std::vector<int>{0});
  int* host = pinned_int(1000);
  cudaStreamSynchronize(stream);
  CHECK_EQUAL(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  int step = 1;
  cudaMemcpyAsync(at, host, sizeof(int), cudaMemcpyHostToDevice, stream);
  CHECK(launch_ok(device.context.launch("add", add_kernel, kOne, at, step)));
  step = 50;
  const cudaEvent_t fork = new_event(), join = new_event();
  cudaEventRecord(fork, stream);
  cudaStreamWaitEvent(side, fork);
  CudaContext other = device.context;
  other.stream = side;
  CHECK(launch_ok(other.launch("add", add_kernel, kOne, at, 10)));
  cudaEventRecord(join, side);
  cudaStreamWaitEvent(stream, join);
  cudaGraph_t graph;
  CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaGraphExec_t executable;
  CHECK_EQUAL(cudaGraphInstantiate(&executable, graph), cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK_EQUAL(device.download(at, 1)[0], 0);  // capturing runs nothing
  cudaGraphLaunch(executable, stream);
  CHECK_EQUAL(device.download(at, 1)[0], 1011);
  *host = 2000;
  cudaGraphLaunch(executable, stream);
  cudaGraphLaunch(executable, stream);
  CHECK_EQUAL(device.download(at, 1)[0], 2011);
  cudaGraphExecDestroy(executable);
  cudaEventDestroy(fork);
  cudaEventDestroy(join);
  cudaStreamDestroy(side);
  cudaFreeHost(host);
}

TEST("calls that a capture does not allow") {
  const auto captured = [](auto call, cudaError_t want) {
    EmulatedDevice device;
    cudaStreamBeginCapture(device.context.stream, cudaStreamCaptureModeGlobal);
    CHECK_EQUAL(call(device), want);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(device.context.stream, &graph) != cudaSuccess);
    CHECK(graph == nullptr);
    CHECK_EQUAL(cudaStreamSynchronize(device.context.stream), cudaSuccess);  // it does not stick
  };
  captured([](EmulatedDevice& device) { return cudaStreamSynchronize(device.context.stream); }, cudaErrorStreamCaptureUnsupported);
  captured([](EmulatedDevice&) { return cudaDeviceSynchronize(); }, cudaErrorStreamCaptureUnsupported);
  captured(
      [](EmulatedDevice&) {
        int* pointer;
        return cudaMalloc(&pointer, 4);
      },
      cudaErrorStreamCaptureUnsupported);
  captured(
      [](EmulatedDevice& device) {
        const cudaEvent_t event = new_event();
        cudaEventRecord(event, device.context.stream);
        const cudaError_t error = cudaEventSynchronize(event);
        cudaEventDestroy(event);
        return error;
      },
      cudaErrorCapturedEvent);
  // A stream that was drawn in and never waited for.
  EmulatedDevice device;
  const cudaStream_t side = new_stream();
  int* at = device.allocate<int>(1);
  cudaStreamBeginCapture(device.context.stream, cudaStreamCaptureModeGlobal);
  const cudaEvent_t fork = new_event();
  cudaEventRecord(fork, device.context.stream);
  cudaStreamWaitEvent(side, fork);
  CudaContext other = device.context;
  other.stream = side;
  CHECK(launch_ok(other.launch("add", add_kernel, kOne, at, 10)));
  cudaGraph_t graph = nullptr;
  CHECK_EQUAL(cudaStreamEndCapture(device.context.stream, &graph), cudaErrorStreamCaptureUnjoined);
  cudaEventDestroy(fork);
  cudaStreamDestroy(side);
}

TEST("a capture of one thread leaves the others their calls that may wait") {
  EmulatedDevice device;
  const cudaStream_t stream = device.context.stream, side = new_stream();
  int* at = device.allocate<int>(1);
  const cudaEvent_t event = new_event();
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  cudaError_t results[5] = {};
  std::thread([&] {
    int* other = nullptr;
    results[0] = cudaMalloc(&other, sizeof(int));
    results[1] = cudaMemsetAsync(other, 0, sizeof(int), side);
    results[2] = cudaEventRecord(event, side);
    results[3] = cudaEventSynchronize(event);
    results[4] = cudaFree(other);
  }).join();
  for (const cudaError_t result : results) CHECK_EQUAL(result, cudaSuccess);
  CHECK(launch_ok(device.context.launch("add", add_kernel, kOne, at, 1)));
  cudaGraph_t graph = nullptr;
  CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaGraphDestroy(graph);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  int* refused = nullptr;
  CHECK_EQUAL(cudaMalloc(&refused, sizeof(int)), cudaErrorStreamCaptureUnsupported);
  CHECK_EQUAL(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  CHECK_EQUAL(cudaMalloc(&refused, sizeof(int)), cudaSuccess);
  cudaFree(refused);
  cudaEventDestroy(event);
  cudaStreamDestroy(side);
}

TEST("copies out of bounds or between the wrong sides are refused") {
  EmulatedDevice device;
  int host[4] = {};
  int* at = device.allocate<int>(2);
  CHECK_EQUAL(cudaMemcpy(at, host, 12, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaMemcpy(at + 1, host, 8, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaMemcpy(host, host + 2, 8, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaMemcpy(at, host, 8, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaMemset(at, 0, 12), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaFree(host), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaGetLastError(), cudaErrorInvalidValue);
  CHECK_EQUAL(cudaGetLastError(), cudaSuccess);
  CHECK_EQUAL(cudaMemcpy(at, host, 8, cudaMemcpyHostToDevice), cudaSuccess);
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, at + 1);
  CHECK_EQUAL(attributes.type, cudaMemoryTypeDevice);
  cudaPointerGetAttributes(&attributes, host);
  CHECK_EQUAL(attributes.type, cudaMemoryTypeUnregistered);
}

TEST("fresh device memory is not zero, and memory runs out") {
  const Environment environment("HEDDLE_EMULATOR_MEMORY", "1000000");
  EmulatedDevice device;
  CHECK_EQUAL(device.download(device.allocate<uint32_t>(1), 1)[0], 0xffffffffu);
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  CHECK_EQUAL(total, 1000000u);
  CHECK_EQUAL(free, 999996u);
  void* pointer = nullptr;
  CHECK_EQUAL(cudaMalloc(&pointer, 2000000), cudaErrorMemoryAllocation);
  CHECK_EQUAL(cudaMalloc(&pointer, 900000), cudaSuccess);
  CHECK_EQUAL(cudaMalloc(&pointer, 200000), cudaErrorMemoryAllocation);
  CHECK_EQUAL(cudaGetLastError(), cudaErrorMemoryAllocation);
}

TEST("what a launch may ask for") {
  EmulatedDevice device;
  const auto refused = [&](const LaunchShape& shape) { return device.context.launch("add", add_kernel, shape, nullptr, 1).message; };
  CHECK_CONTAINS(refused({dim3(1), 1025}), "invalid configuration");
  CHECK_CONTAINS(refused({dim3(1, 65536), 32}), "invalid configuration");
  CHECK_CONTAINS(refused({dim3(1), 32, 232449}), "invalid argument");
  CHECK_CONTAINS(refused({dim3(9), 1024, 0, true}), "too many blocks in cooperative launch");
  int blocks = 0;
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reinterpret_cast<const void*>(add_kernel), 256, 100000);
  CHECK_EQUAL(blocks, 2);
}

TEST("an error of a kernel sticks to everything that follows") {
  EmulatedDevice device;
  CHECK(launch_ok(device.context.launch("fault", barrier_fault_kernel, LaunchShape{dim3(1), 2})));
  CHECK_EQUAL(cudaGetLastError(), cudaSuccess);  // not known yet
  CHECK_EQUAL(cudaStreamSynchronize(device.context.stream), cudaErrorLaunchFailure);
  CHECK_CONTAINS(cudaGetErrorString(cudaErrorLaunchFailure), "[fault] block (0, 0, 0)");
  int* pointer;
  CHECK_EQUAL(cudaMalloc(&pointer, 4), cudaErrorLaunchFailure);
  CHECK_EQUAL(cudaGetLastError(), cudaErrorLaunchFailure);
  CHECK_EQUAL(cudaGetLastError(), cudaErrorLaunchFailure);
}

TEST("faults that a test asks for") {
  int count = -1, driver = -1;
  {
    const Environment environment("HEDDLE_EMULATOR_FAULT", "no-driver");
    CHECK_EQUAL(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    CHECK_EQUAL(cudaDriverGetVersion(&driver), cudaSuccess);
    CHECK_EQUAL(driver, 0);
  }
  {
    const Environment environment("HEDDLE_EMULATOR_FAULT", "old-driver");
    CHECK_EQUAL(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    CHECK_EQUAL(cudaDriverGetVersion(&driver), cudaSuccess);
    CHECK(driver > 0 && driver < CUDART_VERSION);
  }
  {
    const Environment environment("HEDDLE_EMULATOR_FAULT", "no-device");
    CHECK_EQUAL(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  }
  {
    const Environment environment("HEDDLE_EMULATOR_FAULT", "out-of-memory:1000");
    EmulatedDevice device;
    int* pointer = nullptr;
    CHECK_EQUAL(cudaMalloc(&pointer, 900), cudaSuccess);
    CHECK_EQUAL(cudaMalloc(&pointer, 200), cudaErrorMemoryAllocation);
  }
  const Environment environment("HEDDLE_EMULATOR_FAULT", "lost:2");
  EmulatedDevice device;
  int* at = device.upload(std::vector<int>{0});
  CHECK_EQUAL(device.run(add_kernel, kOne, at, 1), "");
  CHECK_EQUAL(device.run(add_kernel, kOne, at, 1), "");
  CHECK_CONTAINS(device.run(add_kernel, kOne, at, 1), "unknown error");
  CHECK_EQUAL(cudaDeviceSynchronize(), cudaErrorUnknown);
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
