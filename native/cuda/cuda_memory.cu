#include "cuda/cuda_memory.h"

#include <algorithm>
#include <cstring>

namespace heddle {

Status CudaMemory::create(int ordinal, const std::string& name, std::shared_ptr<CudaMemory>* out) {
  std::shared_ptr<CudaMemory> memory(new CudaMemory);
  memory->ordinal_ = ordinal;
  memory->name_ = name;
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal), name.c_str());
  HEDDLE_CUDA_TRY(cudaStreamCreateWithFlags(&memory->copies_, cudaStreamNonBlocking), name.c_str());
  for (cudaEvent_t* event : {&memory->written_, &memory->half_free_[0], &memory->half_free_[1]})
    HEDDLE_CUDA_TRY(cudaEventCreateWithFlags(event, cudaEventDisableTiming), name.c_str());
  HEDDLE_TRY(memory->staging_.reserve(2 * kPieceBytes));
  *out = std::move(memory);
  return Status::success();
}

CudaMemory::~CudaMemory() {
  cudaSetDevice(ordinal_);
  if (copies_ != nullptr) cudaStreamSynchronize(copies_);
  for (cudaEvent_t event : {written_, half_free_[0], half_free_[1]})
    if (event != nullptr) cudaEventDestroy(event);
  if (copies_ != nullptr) cudaStreamDestroy(copies_);
}

Status CudaMemory::room(uint64_t* free_bytes, uint64_t* total_bytes) {
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal_), name_.c_str());
  size_t available = 0, total = 0;
  HEDDLE_CUDA_TRY(cudaMemGetInfo(&available, &total), name_.c_str());
  *free_bytes = available;
  *total_bytes = total;
  return Status::success();
}

Status CudaMemory::allocate(uint64_t bytes, std::byte** out) {
  std::lock_guard<std::mutex> lock(mutex_);
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal_), name_.c_str());
  // Kernels may not read beyond a tensor, but an empty one needs an address too.
  const uint64_t size = std::max<uint64_t>(bytes, 16);
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, size);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    return fail(StatusCode::kOutOfMemory, name_ + ": cannot allocate " + std::to_string(bytes) + " bytes: " + std::to_string(available) +
                                              " of " + std::to_string(total) + " are free, this process holds " +
                                              std::to_string(counter.read().bytes) + " in tensors");
  }
  HEDDLE_CUDA_TRY(error, name_.c_str());
  const cudaError_t zeroed = cudaMemsetAsync(data, 0, size, copies_);
  const cudaError_t recorded = zeroed == cudaSuccess ? record_written() : zeroed;
  if (recorded != cudaSuccess) {
    cudaFree(data);
    return cuda_status(recorded, name_.c_str());
  }
  *out = static_cast<std::byte*>(data);
  return Status::success();
}

// Waits for whatever still uses the memory. Errors have nowhere to go: a lost device has lost its memory too.
void CudaMemory::release(std::byte* data) {
  std::lock_guard<std::mutex> lock(mutex_);
  cudaSetDevice(ordinal_);
  cudaFree(data);
  cudaGetLastError();
}

Status CudaMemory::write(std::byte* to, const void* from, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal_), name_.c_str());
  const auto* source = static_cast<const std::byte*>(from);
  for (uint64_t done = 0, piece = 0; done < bytes; done += kPieceBytes, piece++) {
    const uint64_t size = std::min(kPieceBytes, bytes - done);
    const uint64_t half = piece % 2;
    if (piece >= 2) HEDDLE_CUDA_TRY(cudaEventSynchronize(half_free_[half]), name_.c_str());
    std::memcpy(staging_.data() + half * kPieceBytes, source + done, size);
    HEDDLE_CUDA_TRY(cudaMemcpyAsync(to + done, staging_.data() + half * kPieceBytes, size, cudaMemcpyHostToDevice, copies_), name_.c_str());
    HEDDLE_CUDA_TRY(cudaEventRecord(half_free_[half], copies_), name_.c_str());
  }
  HEDDLE_CUDA_TRY(record_written(), name_.c_str());
  // The staging memory is one for all: it is free again when the last piece has left it.
  HEDDLE_CUDA_TRY(cudaEventSynchronize(written_), name_.c_str());
  return Status::success();
}

Status CudaMemory::read(void* to, const std::byte* from, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  HEDDLE_CUDA_TRY(cudaSetDevice(ordinal_), name_.c_str());
  auto* target = static_cast<std::byte*>(to);
  // Double-buffered: piece i + 1 is on the bus while piece i is copied out of the staging memory.
  const uint64_t pieces = (bytes + kPieceBytes - 1) / kPieceBytes;
  const auto size_of = [&](uint64_t piece) { return std::min(kPieceBytes, bytes - piece * kPieceBytes); };
  for (uint64_t piece = 0; piece <= pieces; piece++) {
    if (piece < pieces) {
      std::byte* half = staging_.data() + piece % 2 * kPieceBytes;
      HEDDLE_CUDA_TRY(cudaMemcpyAsync(half, from + piece * kPieceBytes, size_of(piece), cudaMemcpyDeviceToHost, copies_), name_.c_str());
      HEDDLE_CUDA_TRY(cudaEventRecord(half_free_[piece % 2], copies_), name_.c_str());
    }
    if (piece == 0) continue;
    const uint64_t before = piece - 1;
    HEDDLE_CUDA_TRY(cudaEventSynchronize(half_free_[before % 2]), name_.c_str());
    std::memcpy(target + before * kPieceBytes, staging_.data() + before % 2 * kPieceBytes, size_of(before));
  }
  return Status::success();
}

cudaError_t CudaMemory::record_written() {
  std::lock_guard<std::mutex> lock(order_mutex_);
  any_written_ = true;
  return cudaEventRecord(written_, copies_);
}

Status CudaMemory::order_after_writes(cudaStream_t stream) {
  std::lock_guard<std::mutex> lock(order_mutex_);
  if (any_written_) HEDDLE_CUDA_TRY(cudaStreamWaitEvent(stream, written_, 0), name_.c_str());
  any_written_ = false;
  return Status::success();
}

}  // namespace heddle
