#include "cuda/cuda_device.h"

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "cuda/cuda_op_info.h"
#include "cuda/refusals.h"
#include "cuda/step_graphs.h"
#include "executor/program.h"

namespace heddle {

namespace {

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

DeviceLimits limits_of(const cudaDeviceProp& properties) {
  DeviceLimits limits;
  limits.compute_major = properties.major;
  limits.compute_minor = properties.minor;
  limits.multiprocessors = properties.multiProcessorCount;
  limits.threads_per_multiprocessor = properties.maxThreadsPerMultiProcessor;
  limits.shared_per_block = properties.sharedMemPerBlockOptin;
  limits.shared_per_multiprocessor = properties.sharedMemPerMultiprocessor;
  limits.l2_bytes = static_cast<size_t>(properties.l2CacheSize);
  return limits;
}

bool aborted(const Step& step) { return step.control != nullptr && step.control->abort.load(std::memory_order_relaxed); }

Status abort_status() { return fail(StatusCode::kAborted, "The operation was aborted"); }

// HEDDLE_CUDA_GRAPHS=off runs every step launch by launch.
bool graphs_wanted() {
  static const bool wanted = [] {
    const char* text = std::getenv("HEDDLE_CUDA_GRAPHS");
    return text == nullptr || std::strcmp(text, "off") != 0;
  }();
  return wanted;
}

}  // namespace

Status CudaDevice::create(int ordinal, const cudaDeviceProp& properties, std::shared_ptr<Device>* out) {
  std::shared_ptr<CudaDevice> device(new CudaDevice);
  device->ordinal_ = ordinal;
  device->name_ = "CUDA device " + std::to_string(ordinal) + " (" + properties.name + ")";
  device->limits_ = limits_of(properties);
  HEDDLE_TRY(CudaMemory::create(ordinal, device->name_, &device->memory_));
  HEDDLE_CUDA_TRY(cudaStreamCreateWithFlags(&device->stream_, cudaStreamNonBlocking), device->name());
  std::byte* data = nullptr;
  HEDDLE_TRY(device->memory_->allocate(sizeof(FailureSlot), &data));
  device->failure_slot_ = reinterpret_cast<FailureSlot*>(data);
  HEDDLE_TRY(device->memory_->allocate(kCounters * sizeof(int32_t), &data));
  device->counters_ = reinterpret_cast<int32_t*>(data);
  *out = std::move(device);
  return Status::success();
}

CudaDevice::~CudaDevice() {
  cudaSetDevice(ordinal_);
  if (stream_ != nullptr) {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  if (failure_slot_ != nullptr) memory_->release(reinterpret_cast<std::byte*>(failure_slot_));
  if (counters_ != nullptr) memory_->release(reinterpret_cast<std::byte*>(counters_));
}

bool CudaDevice::has_kernel(Op op) const { return cuda_op_info(op).run != nullptr; }

uint64_t CudaDevice::workspace_bytes(Op op, const TensorView* operands, const AttributeValue* attributes, int) const {
  const CudaOpInfo& info = cuda_op_info(op);
  return info.workspace == nullptr ? 0 : info.workspace(operands, attributes, limits_);
}

std::unique_ptr<StepCache> CudaDevice::make_step_cache() { return std::make_unique<StepGraphs>(ordinal_); }

Status CudaDevice::begin() {
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal_), name());
  return memory_->order_after_writes(stream_);
}

Status CudaDevice::write_inputs(const std::vector<Transfer>& inputs) {
  HEDDLE_TRY(begin());
  uint64_t total = 0;
  for (const Transfer& input : inputs) total += (input.bytes + 15) / 16 * 16;
  HEDDLE_TRY(inputs_.reserve(total));
  std::byte* at = inputs_.data();
  for (const Transfer& input : inputs) {
    if (input.bytes == 0) continue;
    std::memcpy(at, input.host, input.bytes);
    HEDDLE_CUDA_TRY(cudaMemcpyAsync(input.device, at, input.bytes, cudaMemcpyHostToDevice, stream_), name());
    at += (input.bytes + 15) / 16 * 16;
  }
  return Status::success();
}

CudaContext CudaDevice::context_for(const Step& step) const {
  CudaContext context;
  context.stream = stream_;
  context.workspace = step.workspace;
  context.workspace_bytes = step.workspace_bytes;
  context.counters = counters_;
  context.limits = limits_;
  context.failure_slot = failure_slot_;
  return context;
}

Status CudaDevice::launch_all(const Step& step) {
  CudaContext context = context_for(step);
  for (const Instruction& instruction : step.spec.instructions) {
    if (aborted(step)) return abort_status();
    HEDDLE_TRY(cuda_op_info(instruction.op)
                   .run(step.operands + instruction.first_operand, step.spec.attributes.data() + instruction.first_attribute, context));
  }
  return Status::success();
}

// Each op on its own, with a wait behind it: true times by op, a slower step.
Status CudaDevice::launch_timed(const Step& step) {
  CudaContext context = context_for(step);
  for (const Instruction& instruction : step.spec.instructions) {
    if (aborted(step)) return abort_status();
    const int64_t begin = now_nanoseconds();
    HEDDLE_TRY(cuda_op_info(instruction.op)
                   .run(step.operands + instruction.first_operand, step.spec.attributes.data() + instruction.first_attribute, context));
    HEDDLE_CUDA_TRY(cudaStreamSynchronize(stream_), cuda_op_info(instruction.op).name);
    auto& time = (*step.times)[static_cast<size_t>(instruction.op)];
    time.first++;
    time.second += now_nanoseconds() - begin;
  }
  return Status::success();
}

// Only this thread is held to what a capture allows: others may allocate meanwhile.
Status CudaDevice::capture(const Step& step, cudaGraphExec_t* out) {
  HEDDLE_CUDA_TRY(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), name());
  const Status launched = launch_all(step);
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
  if (!launched.ok() || ended != cudaSuccess) {
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    return launched.ok() ? cuda_status(ended, name()) : launched;
  }
  const cudaError_t made = cudaGraphInstantiate(out, graph, 0);
  cudaGraphDestroy(graph);
  HEDDLE_CUDA_TRY(made, name());
  return Status::success();
}

Status CudaDevice::run(const Step& step, StepCache* cache, ThreadPool&) {
  Status ran = launch(step, *static_cast<StepGraphs*>(cache));
  // What a step that ends early had launched still reads the staging memory and may refuse something: neither is the next step's.
  if (!ran.ok()) static_cast<void>(read_outputs({}));
  return ran;
}

Status CudaDevice::launch(const Step& step, StepGraphs& graphs) {
  HEDDLE_TRY(begin());
  if (aborted(step)) return abort_status();
  if (step.times != nullptr) return launch_timed(step);
  if (!graphs_wanted()) return launch_all(step);
  bool known = false;
  StepGraphs::Entry& entry = graphs.find(step.extents, &known);
  // The first time launch by launch: kernels are loaded then, and most prefill steps never come again.
  if (!known || entry.refused) return launch_all(step);
  if (entry.graph == nullptr) {
    const Status captured = capture(step, &entry.graph);
    if (captured.code == StatusCode::kAborted || captured.code == StatusCode::kDeviceLost) return captured;
    if (!captured.ok()) {
      entry.graph = nullptr;
      entry.refused = true;
      return launch_all(step);
    }
  }
  HEDDLE_CUDA_TRY(cudaGraphLaunch(entry.graph, stream_), name());
  return Status::success();
}

Status CudaDevice::read_outputs(const std::vector<Transfer>& outputs) {
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal_), name());
  constexpr uint64_t kSlotBytes = 64;
  static_assert(sizeof(FailureSlot) <= kSlotBytes);
  uint64_t total = kSlotBytes;
  for (const Transfer& output : outputs) total += (output.bytes + 15) / 16 * 16;
  HEDDLE_TRY(outputs_.reserve(total));
  HEDDLE_CUDA_TRY(cudaMemcpyAsync(outputs_.data(), failure_slot_, sizeof(FailureSlot), cudaMemcpyDeviceToHost, stream_), name());
  std::byte* at = outputs_.data() + kSlotBytes;
  for (const Transfer& output : outputs) {
    if (output.bytes == 0) continue;
    HEDDLE_CUDA_TRY(cudaMemcpyAsync(at, output.device, output.bytes, cudaMemcpyDeviceToHost, stream_), name());
    at += (output.bytes + 15) / 16 * 16;
  }
  HEDDLE_CUDA_TRY(cudaStreamSynchronize(stream_), name());
  FailureSlot slot;
  std::memcpy(&slot, outputs_.data(), sizeof slot);
  if (slot.code != 0) {
    HEDDLE_CUDA_TRY(cudaMemsetAsync(failure_slot_, 0, sizeof(FailureSlot), stream_), name());
    return fail(StatusCode::kInvalidArgument, refusal_message(slot));
  }
  at = outputs_.data() + kSlotBytes;
  for (const Transfer& output : outputs) {
    if (output.bytes != 0) std::memcpy(output.host, at, output.bytes);
    at += (output.bytes + 15) / 16 * 16;
  }
  return Status::success();
}

Status CudaDevice::copy(std::byte* to, const std::byte* from, uint64_t bytes) {
  if (bytes != 0) HEDDLE_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), name());
  return Status::success();
}

}  // namespace heddle
