// Wrong kernels are caught: each of these must fail, and say why.
#include "emulated_device.h"

using namespace heddle;
using heddle::test::EmulatedDevice;
using heddle::test::Environment;

namespace {

__global__ void missing_barrier_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 64);
  cells[threadIdx.x] = 1.0f;
  out[threadIdx.x] = cells[63 - threadIdx.x];
}

// Reads before the writes of the next round without a barrier in between.
__global__ void missing_second_barrier_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 64);
  for (int round = 0; round < 2; round++) {
    cells[threadIdx.x] = static_cast<float>(round);
    __syncthreads();
    out[threadIdx.x] = cells[63 - threadIdx.x];
  }
}

__global__ void missing_syncwarp_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 32);
  cells[threadIdx.x] = 1.0f;
  out[threadIdx.x] = cells[threadIdx.x ^ 1];
}

// A shuffle orders no memory.
__global__ void shuffle_as_barrier_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 32);
  cells[threadIdx.x] = 1.0f;
  const float other = __shfl_xor_sync(kFullWarp, 1.0f, 1);
  out[threadIdx.x] = cells[threadIdx.x ^ 1] + other;
}

// Lanes 0 to 15 meet, but what lane 16 wrote is read as well.
__global__ void partial_syncwarp_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 32);
  cells[threadIdx.x] = 1.0f;
  if (threadIdx.x < 16) {
    __syncwarp(0xffffu);
    out[threadIdx.x] = cells[threadIdx.x + 1];
  }
}

__global__ void same_word_two_writers_kernel(float* out) {
  HEDDLE_SHARED(BF16, halves, 64);
  halves[threadIdx.x] = from_f32<BF16>(1.0f);
  __syncthreads();
  halves[(threadIdx.x + 1) / 2 * 2] = from_f32<BF16>(2.0f);  // threads 1 and 2 both write element 2
  __syncthreads();
  out[threadIdx.x] = to_f32(static_cast<BF16>(halves[threadIdx.x]));
}

__global__ void shared_bounds_kernel(float* out, int index, bool write) {
  HEDDLE_SHARED(float, before, 4);
  HEDDLE_SHARED(float, cells, 10);
  HEDDLE_SHARED(float, after, 4);
  before[threadIdx.x] = cells[threadIdx.x] = after[threadIdx.x] = 1.0f;
  if (write) cells[index] = 2.0f;
  out[threadIdx.x] = cells[write ? 0 : index];
}

__global__ void dynamic_bounds_kernel(float* out) {
  HEDDLE_DYNAMIC_SHARED(buffer);
  const auto cells = shared_at<float>(buffer, 0);
  cells[threadIdx.x] = 1.0f;
  out[threadIdx.x] = 0.0f;
}

__global__ void unwritten_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 64);
  if (threadIdx.x < 63) cells[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = cells[threadIdx.x];
}

__global__ void unwritten_half_kernel(uint32_t* out) {
  HEDDLE_SHARED(uint16_t, halves, 8);
  halves[threadIdx.x * 2] = 1;
  __syncthreads();
  const SharedPointer<uint16_t> pointer = halves;
  out[threadIdx.x] = load_pack<2>(pointer + threadIdx.x * 2).v[1];
}

// What the block before left behind is nothing that this one may read.
__global__ void left_over_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 32);
  if (blockIdx.x == 0) cells[threadIdx.x] = 1.0f;
  out[threadIdx.x] = cells[threadIdx.x];
}

__global__ void copy_without_wait_kernel(const float* from, float* out) {
  HEDDLE_SHARED(float, cells, 128);
  copy_async16(cells + threadIdx.x * 4, from + threadIdx.x * 4);
  copy_async_commit();
  __syncthreads();
  out[threadIdx.x] = cells[threadIdx.x];
}

__global__ void copy_without_commit_kernel(const float* from, float* out) {
  HEDDLE_SHARED(float, cells, 128);
  copy_async16(cells + threadIdx.x * 4, from + threadIdx.x * 4);
  copy_async_wait<0>();
  __syncthreads();
  out[threadIdx.x] = cells[threadIdx.x];
}

// Waits for all but one group where the newest is the one that is read.
__global__ void copy_waits_too_little_kernel(const float* from, float* out) {
  HEDDLE_SHARED(float, cells, 256);
  for (int i = 0; i < 2; i++) {
    copy_async16(cells + (i * 128 + static_cast<int>(threadIdx.x) * 4), from + threadIdx.x * 4);
    copy_async_commit();
  }
  copy_async_wait<1>();
  __syncthreads();
  out[threadIdx.x] = cells[128 + threadIdx.x];
}

__global__ void copy_without_barrier_kernel(const float* from, float* out) {
  HEDDLE_SHARED(float, cells, 128);
  copy_async16(cells + threadIdx.x * 4, from + threadIdx.x * 4);
  copy_async_commit();
  copy_async_wait<0>();
  out[threadIdx.x] = cells[threadIdx.x];
}

__global__ void divergent_barrier_kernel() {
  if (threadIdx.x < 20) __syncthreads();
}

__global__ void two_barriers_kernel(float* out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
    out[threadIdx.x] = 1.0f;
  } else {
    __syncthreads();
    out[threadIdx.x] = 2.0f;
  }
}

__global__ void two_kinds_kernel(float* out) {
  out[threadIdx.x] = static_cast<float>(threadIdx.x < 32 ? __syncthreads_or(1) : __syncthreads_and(1));
}

__global__ void ended_lane_kernel(int* out) {
  if (threadIdx.x == 5) return;
  out[threadIdx.x] = __shfl_xor_sync(kFullWarp, 1, 1);
}

__global__ void lane_elsewhere_kernel(int* out) {
  if (threadIdx.x == 5) {
    __syncthreads();
  } else {
    out[threadIdx.x] = __shfl_xor_sync(kFullWarp, 1, 1);
  }
}

__global__ void mask_without_self_kernel(int* out) { out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 1); }

__global__ void source_outside_mask_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

__global__ void two_exchanges_kernel(int* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_xor_sync(kFullWarp, 1, 1);
  } else {
    out[threadIdx.x] = static_cast<int>(__ballot_sync(kFullWarp, 1));
  }
}

__global__ void waits_for_nobody_kernel(int32_t* flag) {
  while (load_acquire(flag) == 0) wait_a_little();
}
__global__ void spins_without_rest_kernel(int32_t* flag) {
  while (load_acquire(flag) == 0) {
  }
}
// Block 0 waits for block 1, which a launch that is not cooperative need not run beside it.
__global__ void waits_for_later_block_kernel(int32_t* flag) {
  if (blockIdx.x == 0) {
    while (load_acquire(flag) == 0) wait_a_little();
  } else {
    store_release(flag, 1);
  }
}

__global__ void global_kernel(float* at, int64_t index, bool write) {
  if (write) {
    at[index] = 1.0f;
  } else {
    at[0] = at[index];
  }
}

__global__ void misaligned_global_kernel(const float* from, float* to, int kind) {
  if (kind == 0) store_pack(to, load_pack<4>(from + 1));
  if (kind == 1) store_pack(to + 1, load_pack<4>(from));
  if (kind == 2) store_pack(to, load_streaming(from + 2));
}

__global__ void misaligned_shared_kernel(float* out) {
  HEDDLE_SHARED(float, cells, 64);
  for (int i = 0; i < 64; i++) cells[i] = 0.0f;
  const SharedPointer<float> pointer = cells;
  out[0] = load_pack<4>(pointer + 2).v[0];
}

__global__ void misaligned_copy_kernel(const float* from) {
  HEDDLE_SHARED(float, cells, 64);
  copy_async16(cells + 4, from + 1);
}

__global__ void misaligned_matrix_kernel(uint32_t* out) {
  HEDDLE_SHARED(BF16, rows, 512);
  for (int i = static_cast<int>(threadIdx.x); i < 512; i += kWarp) rows[i] = BF16{0};
  __syncwarp();
  uint32_t words[4];
  load_matrix_x4(words, rows + threadIdx.x * 12);
  out[threadIdx.x] = words[0];
}

__global__ void racing_matrix_kernel(uint32_t* out) {
  HEDDLE_SHARED(BF16, rows, 256);
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += kWarp) rows[i] = BF16{0};
  uint32_t words[4];
  load_matrix_x4(words, rows + threadIdx.x * 8);
  out[threadIdx.x] = words[0];
}

__global__ void much_static_kernel() {
  HEDDLE_SHARED(float, cells, 13000);
  cells[0] = 1.0f;
}

__global__ void overflow_kernel(int* out, int depth) {
  volatile char much[200 << 10];
  for (size_t i = 0; i < sizeof much; i += 64) much[i] = static_cast<char>(depth);
  out[0] = much[100];
}

// The last block to come wins, whichever that is.
__global__ void block_order_kernel(int* out) { out[0] = static_cast<int>(blockIdx.x); }
__global__ void thread_order_kernel(int* out) {
  if (atomicAdd(out + 1, 1) == 0) out[0] = static_cast<int>(threadIdx.x);
}

constexpr LaunchShape kWarpShape{dim3(1), 32};
constexpr LaunchShape kTwoWarps{dim3(1), 64};

}  // namespace

TEST("races in shared memory") {
  const auto race_of = [](auto kernel, unsigned threads) {
    for (const char* seed : {"0", "5"}) {
      const Environment environment("HEDDLE_EMULATOR_SEED", seed);
      EmulatedDevice device;
      CHECK_CONTAINS(device.run(kernel, {dim3(2), threads}, device.allocate<float>(64)), "race in shared memory");
    }
  };
  race_of(missing_second_barrier_kernel, 64);
  race_of(shuffle_as_barrier_kernel, 32);
  race_of(same_word_two_writers_kernel, 64);
  // Whether these read too early or just in time depends on the order of the threads.
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(partial_syncwarp_kernel, kWarpShape, device.allocate<float>(64)), "shared memory");
  }
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(missing_barrier_kernel, kTwoWarps, device.allocate<float>(64)), "shared memory");
  EmulatedDevice another;
  CHECK_CONTAINS(another.run(missing_syncwarp_kernel, kWarpShape, another.allocate<float>(64)), "shared memory");
}

TEST("shared memory out of bounds") {
  for (const bool write : {false, true}) {
    for (const int index : {-1, 10, 12, 1 << 20}) {
      EmulatedDevice device;
      CHECK_CONTAINS(device.run(shared_bounds_kernel, {dim3(1), 1}, device.allocate<float>(4), index, write),
                     "of 4 bytes at byte " + std::to_string(index * 4) + " of an array of 40");
    }
  }
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(dynamic_bounds_kernel, {dim3(1), 32, 31 * 4}, device.allocate<float>(32)), "write of 4 bytes at byte 124 of an array of 124");
}

TEST("shared memory that nobody wrote") {
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(unwritten_kernel, kTwoWarps, device.allocate<float>(64)), "read of 4 bytes at byte 252 of an array, which nobody has written");
  }
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(unwritten_half_kernel, {dim3(1), 4}, device.allocate<uint32_t>(4)), "which nobody has written");
  }
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(left_over_kernel, {dim3(2), 32}, device.allocate<float>(32)), "block (1, 0, 0)");
}

TEST("asynchronous copies read too early") {
  const auto run = [](auto kernel) {
    EmulatedDevice device;
    const float* from = device.upload(std::vector<float>(128));
    return device.run(kernel, kWarpShape, from, device.allocate<float>(32));
  };
  CHECK_CONTAINS(run(copy_without_wait_kernel), "an asynchronous copy has not been waited for");
  CHECK_CONTAINS(run(copy_without_commit_kernel), "an asynchronous copy has not been waited for");
  CHECK_CONTAINS(run(copy_waits_too_little_kernel), "an asynchronous copy has not been waited for");
  CHECK_CONTAINS(run(copy_without_barrier_kernel), "shared memory");
}

TEST("barriers that not all threads reach") {
  for (const char* seed : {"0", "5", "6"}) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    {
      EmulatedDevice device;
      CHECK_CONTAINS(device.run(divergent_barrier_kernel, kWarpShape), "__syncthreads");
    }
    {
      EmulatedDevice device;
      CHECK_CONTAINS(device.run(two_barriers_kernel, kTwoWarps, device.allocate<float>(64)), "other threads of the block wait in the one at");
    }
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(two_kinds_kernel, kTwoWarps, device.allocate<float>(64)), "other threads of the block wait");
  }
}

TEST("exchanges that not all lanes reach") {
  const auto run = [](auto kernel, const char* message) {
    for (const char* seed : {"0", "5", "6"}) {
      const Environment environment("HEDDLE_EMULATOR_SEED", seed);
      EmulatedDevice device;
      CHECK_CONTAINS(device.run(kernel, kWarpShape, device.allocate<int>(32)), message);
    }
  };
  run(ended_lane_kernel, "0x");
  run(lane_elsewhere_kernel, "cannot go on");
  run(mask_without_self_kernel, "0x0000ffff lacks the calling lane");
  run(source_outside_mask_kernel, "reads lane 20, which is not in mask 0x0000ffff");
  run(two_exchanges_kernel, "of the same mask 0xffffffff is in");
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(ended_lane_kernel, {dim3(1), 20}, device.allocate<int>(32)), "names lanes that have ended or do not exist (0xfff00000)");
}

TEST("blocks that wait for ever") {
  const auto run = [](auto kernel, bool cooperative) {
    EmulatedDevice device;
    return device.run(kernel, {dim3(3), 32, 0, cooperative}, device.upload(std::vector<int32_t>(1)));
  };
  CHECK_CONTAINS(run(waits_for_nobody_kernel, true), "wait for other blocks");
  CHECK_CONTAINS(run(spins_without_rest_kernel, true), "wait for other blocks");
  CHECK_CONTAINS(run(waits_for_later_block_kernel, false), "wait for other blocks");
  CHECK_EQUAL(run(waits_for_later_block_kernel, true), "");
}

TEST("global memory out of bounds") {
  for (const bool write : {false, true}) {
    for (const int64_t index : {int64_t{100}, int64_t{1000}}) {
      EmulatedDevice device;
      float* at = device.upload(std::vector<float>(100));
      const std::string text = device.run(global_kernel, {dim3(1), 1}, at, index, write);
      CHECK_CONTAINS(text, (write ? "write" : "read") + std::string(" of global memory at byte ") + std::to_string(index * 4));
      CHECK_CONTAINS(text, "an illegal memory access was encountered");
      CHECK_EQUAL(cudaStreamSynchronize(device.context.stream), cudaErrorIllegalAddress);  // it sticks
      float* more = nullptr;
      CHECK_EQUAL(cudaMalloc(&more, 4), cudaErrorIllegalAddress);
    }
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(global_kernel, {dim3(1), 1}, device.upload(std::vector<float>(1024)), int64_t{-1}, write),
                   " of global memory at byte -4 of the nearest allocation");
    EmulatedDevice another;
    CHECK_CONTAINS(another.run(global_kernel, {dim3(1), 1}, static_cast<float*>(nullptr), int64_t{2}, write), "near null");
  }
  // Within the last 16 bytes: found when the memory is freed.
  EmulatedDevice device;
  float* at = device.upload(std::vector<float>(3));
  CHECK_EQUAL(device.run(global_kernel, {dim3(1), 1}, at, int64_t{3}, true), "");
  CHECK_EQUAL(cudaFree(at), cudaErrorIllegalAddress);
}

TEST("misaligned vectors") {
  for (const int kind : {0, 1, 2}) {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(misaligned_global_kernel, {dim3(1), 1}, device.upload(std::vector<float>(8)), device.allocate<float>(8), kind),
                   "misaligned access of 16 bytes to global memory");
  }
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(misaligned_shared_kernel, {dim3(1), 1}, device.allocate<float>(1)), "misaligned read of 16 bytes");
  }
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(misaligned_copy_kernel, {dim3(1), 1}, device.upload(std::vector<float>(8))), "misaligned access of 16 bytes");
  }
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(misaligned_matrix_kernel, kWarpShape, device.allocate<uint32_t>(32)), "misaligned read of 16 bytes");
}

TEST("ldmatrix reads what other lanes wrote without a barrier") {
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(racing_matrix_kernel, kWarpShape, device.allocate<uint32_t>(32)), "race in shared memory");
}

TEST("too much memory") {
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(much_static_kernel, kWarpShape), "bytes of static shared memory: at most 49152");
  }
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(overflow_kernel, kWarpShape, device.allocate<int>(1), 3), "stack overflowed");
  }
  EmulatedDevice device;
  CHECK_CONTAINS(device.run(dynamic_bounds_kernel, {dim3(1), 32, 300000}, device.allocate<float>(32)), "invalid argument");
}

TEST("an order of blocks or threads that a kernel relies on") {
  int blocks = 0, threads = 0;
  for (int seed = 1; seed <= 8; seed++) {
    const Environment environment("HEDDLE_EMULATOR_SEED", std::to_string(seed));
    EmulatedDevice device;
    int* out = device.upload(std::vector<int>(2));
    CHECK_EQUAL(device.run(block_order_kernel, {dim3(16), 1}, out), "");
    blocks += device.download(out, 1)[0] != 15;
    int* other = device.upload(std::vector<int>(2));
    CHECK_EQUAL(device.run(thread_order_kernel, {dim3(1), 64}, other), "");
    threads += device.download(other, 1)[0] != 0;
  }
  CHECK(blocks > 4);
  CHECK(threads > 4);
}

TEST("after a failed launch the next device is sound") {
  {
    EmulatedDevice device;
    CHECK_CONTAINS(device.run(divergent_barrier_kernel, kTwoWarps), "__syncthreads");
  }
  EmulatedDevice device;
  int* out = device.upload(std::vector<int>(2));
  CHECK_EQUAL(device.run(thread_order_kernel, kTwoWarps, out), "");
  CHECK_EQUAL(device.download(out + 1, 1)[0], 64);
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
