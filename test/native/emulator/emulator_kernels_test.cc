// Correct kernels give correct results under the emulator, in every order of blocks and threads.
#include <cmath>

#include "emulated_device.h"

using namespace heddle;
using heddle::test::EmulatedDevice;
using heddle::test::Environment;

namespace {

const char* const kSeeds[] = {"0", "1", "77"};

__global__ void add_kernel(const float* a, const float* b, float* out, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) out[i] = a[i] + b[i];
}

__global__ void row_sums_kernel(const float* x, float* sums, float* maxima, int columns) {
  HEDDLE_SHARED(float, scratch, 32);
  float sum = 0.0f, best = -1e30f;
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += static_cast<int>(blockDim.x)) {
    const float value = x[static_cast<int64_t>(blockIdx.x) * columns + i];
    sum += value;
    best = max(best, value);
  }
  sum = block_sum(sum, scratch);
  best = block_max(best, scratch);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum;
    maxima[blockIdx.x] = best;
  }
}

// Every kind of exchange once; row r of `out` holds what the lanes got.
__global__ void exchange_kernel(int64_t* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int row = 0;
  const auto put = [&](int64_t value) { out[row++ * kWarp + lane] = value; };
  put(__shfl_sync(kFullWarp, lane * 10, 5));
  put(__shfl_sync(kFullWarp, lane * 10, lane + 3, 8));
  put(__shfl_up_sync(kFullWarp, static_cast<unsigned>(lane), 3));
  put(__shfl_down_sync(kFullWarp, static_cast<int64_t>(lane) << 40, 2, 16) >> 40);
  put(static_cast<int64_t>(__shfl_xor_sync(kFullWarp, static_cast<float>(lane), 1)));
  put(static_cast<int64_t>(__shfl_xor_sync(kFullWarp, static_cast<double>(lane), 16)));
  put(__ballot_sync(kFullWarp, lane % 3 == 0));
  put(__any_sync(kFullWarp, lane == 31));
  put(__all_sync(kFullWarp, lane < 31));
  put(__match_any_sync(kFullWarp, lane / 5));
  if (lane < 8) {  // a part of the warp goes its own way
    put(__shfl_xor_sync(0xffu, lane, 7));
  } else {
    put(__shfl_sync(0xffffff00u, lane, 31));
  }
}

__global__ void transpose_kernel(const float* from, float* to, int rows, int columns) {
  HEDDLE_SHARED(float, tile, 32 * 33);
  const int x = static_cast<int>(threadIdx.x) % 32, y = static_cast<int>(threadIdx.x) / 32;
  const int column = static_cast<int>(blockIdx.x) * 32, row = static_cast<int>(blockIdx.y) * 32;
  for (int i = y; i < 32; i += 8) {
    if (row + i < rows && column + x < columns) tile[i * 33 + x] = from[(row + i) * columns + column + x];
  }
  __syncthreads();
  for (int i = y; i < 32; i += 8) {
    if (column + i < columns && row + x < rows) to[(column + i) * rows + row + x] = tile[x * 33 + i];
  }
}

// 16-bit elements written one by one, read as words.
__global__ void halves_kernel(const float* from, uint32_t* to) {
  HEDDLE_DYNAMIC_SHARED(buffer);
  const auto halves = shared_at<BF16>(buffer, 16);
  halves[threadIdx.x] = from_f32<BF16>(from[threadIdx.x]);
  __syncthreads();
  const auto words = shared_at<uint32_t>(buffer, 16);
  if (threadIdx.x < blockDim.x / 2) to[threadIdx.x] = words[threadIdx.x];
}

// One 16 x 8 block of a product; fragments through ldmatrix, b from its rows (k) or from its columns.
template <class T, bool BTransposed>
__global__ void product_kernel(const T* a, const T* b, float* d) {
  HEDDLE_SHARED(T, a_tile, 16 * 24);
  HEDDLE_SHARED(T, b_tile, 16 * 24);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += kWarp) a_tile[i / 16 * 24 + i % 16] = a[i];
  if (BTransposed) {
    for (int i = lane; i < 8 * 16; i += kWarp) b_tile[i / 16 * 24 + i % 16] = b[i % 16 * 8 + i / 16];
  } else {
    for (int i = lane; i < 16 * 8; i += kWarp) b_tile[i / 8 * 24 + i % 8] = b[i];
    for (int i = lane; i < 16 * 8; i += kWarp) b_tile[i / 8 * 24 + 8 + i % 8] = T{0};
  }
  __syncwarp();
  uint32_t af[4], bf[4];
  load_matrix_x4(af, a_tile + (lane % 16) * 24 + lane / 16 * 8);
  if (BTransposed) {
    uint32_t two[2];
    load_matrix_x2(two, b_tile + (lane % 8) * 24 + lane / 8 % 2 * 8);
    bf[0] = two[0];
    bf[1] = two[1];
  } else {
    load_matrix_x4_transposed(bf, b_tile + (lane % 16) * 24 + lane / 16 * 8);
  }
  float sums[4] = {0.5f, 0.5f, 0.5f, 0.5f};
  const uint32_t b2[2] = {bf[0], bf[1]};
  mma_m16n8k16<T>(sums, af, b2);
  const int group = lane / 4, pair = lane % 4;
  d[group * 8 + 2 * pair] = sums[0];
  d[group * 8 + 2 * pair + 1] = sums[1];
  d[(group + 8) * 8 + 2 * pair] = sums[2];
  d[(group + 8) * 8 + 2 * pair + 1] = sums[3];
}

// Sums `steps` tiles of 4 floats per thread, two copies under way at a time.
__global__ void pipeline_kernel(const float* from, float* to, int steps) {
  HEDDLE_DYNAMIC_SHARED(buffer);
  const auto tiles = shared_at<float>(buffer, 0);
  const int thread = static_cast<int>(threadIdx.x), width = static_cast<int>(blockDim.x) * 4;
  const auto fetch = [&](int step) {
    const bool valid = step < steps;
    copy_async16(tiles + step % 3 * width + thread * 4, from + (valid ? step : 0) * width + thread * 4, valid);
    copy_async_commit();
  };
  fetch(0);
  fetch(1);
  float sum = 0.0f;
  for (int step = 0; step < steps; step++) {
    copy_async_wait<1>();
    __syncthreads();
    const int other = (thread + 1) % static_cast<int>(blockDim.x);
    const auto four = load_pack<4>(tiles + step % 3 * width + other * 4);
    sum += four.v[0] + four.v[1] + four.v[2] + four.v[3];
    fetch(step + 2);
  }
  to[thread] = sum;
}

// Each block waits for the one before it and adds to what that left.
__global__ void chain_kernel(int32_t* flags, int64_t* values) {
  if (threadIdx.x == 0) {
    int64_t value = 1;
    if (blockIdx.x > 0) {
      while (load_acquire(flags + blockIdx.x - 1) == 0) wait_a_little();
      value += values[blockIdx.x - 1];
    }
    values[blockIdx.x] = value;
    store_release(flags + blockIdx.x, 1);
  }
  __syncthreads();
}

// All blocks meet twice.
__global__ void meeting_kernel(int32_t* counter, const int32_t* in, int32_t* out, int32_t* total) {
  for (int round = 1; round <= 2; round++) {
    if (threadIdx.x == 0) {
      if (round == 1) out[blockIdx.x] = in[blockIdx.x] * 2;
      add_release(counter, 1);
      while (load_acquire(counter) < round * static_cast<int32_t>(gridDim.x)) wait_a_little();
      if (round == 1) {
        int32_t sum = 0;
        for (unsigned i = 0; i < gridDim.x; i++) sum += out[i];
        total[blockIdx.x] = sum;
      }
    }
    __syncthreads();
  }
}

__global__ void votes_kernel(int* out) {
  const int thread = static_cast<int>(threadIdx.x);
  const int any = __syncthreads_or(thread == 70), all = __syncthreads_and(thread < 100), count = __syncthreads_count(thread % 2);
  out[thread] = any + 10 * all + 100 * count;
}

__global__ void count_kernel(int* counter, unsigned* most, Failure failure) {
  atomicAdd(counter, 1);
  atomicMax(most, threadIdx.x + blockIdx.x * blockDim.x);
  if (threadIdx.x == 3) failure.report(11, 22);
}

// Lanes hand on through shared memory in pairs: ordered by what others knew.
__global__ void relay_kernel(int* out) {
  HEDDLE_SHARED(int, cell, 32);
  const int lane = static_cast<int>(threadIdx.x);
  if (lane == 0) cell[0] = 42;
  if (lane < 2) __syncwarp(0x3u);
  if (lane == 1 || lane == 2) __syncwarp(0x6u);
  if (lane == 2) out[0] = cell[0];
  __syncwarp();
  if (lane == 9) cell[0] = 43;
  __syncwarp();
  if (lane == 20) out[1] = cell[0];
}

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 8.0f;
  return values;
}

template <class T, bool BTransposed>
void check_product() {
  EmulatedDevice device;
  const auto values = numbers(16 * 16 + 16 * 8);
  std::vector<T> a(256), b(128);
  for (size_t i = 0; i < 256; i++) a[i] = from_f32<T>(values[i]);
  for (size_t i = 0; i < 128; i++) b[i] = from_f32<T>(values[256 + i]);
  float* d = device.allocate<float>(128);
  CHECK_EQUAL(device.run(product_kernel<T, BTransposed>, {dim3(1), 32}, device.upload(a), device.upload(b), d), "");
  const auto got = device.download(d, 128);
  for (size_t row = 0; row < 16; row++) {
    for (size_t column = 0; column < 8; column++) {
      double sum = 0.5;
      for (size_t k = 0; k < 16; k++) sum += static_cast<double>(to_f32(a[row * 16 + k])) * to_f32(b[k * 8 + column]);
      CHECK(std::fabs(got[row * 8 + column] - sum) < 1e-3);
    }
  }
}

}  // namespace

TEST("threads without barriers") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    const auto a = numbers(1000), b = numbers(1000);
    float* out = device.allocate<float>(1000);
    CHECK_EQUAL(device.run(add_kernel, {dim3(8), 128}, device.upload(a), device.upload(b), out, 1000), "");
    const auto got = device.download(out, 1000);
    for (size_t i = 0; i < 1000; i++) CHECK_EQUAL(got[i], a[i] + b[i]);
  }
}

TEST("a reduction over blocks of 1024 threads") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    const auto x = numbers(5 * 3001);
    float *sums = device.allocate<float>(5), *maxima = device.allocate<float>(5);
    CHECK_EQUAL(device.run(row_sums_kernel, {dim3(5), 1024}, device.upload(x), sums, maxima, 3001), "");
    const auto sum = device.download(sums, 5), best = device.download(maxima, 5);
    for (size_t row = 0; row < 5; row++) {
      double want = 0, most = -1e30;
      for (size_t i = 0; i < 3001; i++) {
        want += x[row * 3001 + i];
        most = std::max(most, static_cast<double>(x[row * 3001 + i]));
      }
      CHECK(std::fabs(sum[row] - want) < 1e-2);
      CHECK_EQUAL(best[row], static_cast<float>(most));
    }
  }
}

TEST("shuffles, votes and matches") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    auto* out = device.allocate<int64_t>(11 * 32);
    CHECK_EQUAL(device.run(exchange_kernel, {dim3(1), 32}, out), "");
    const auto got = device.download(out, 11 * 32);
    for (int lane = 0; lane < 32; lane++) {
      int64_t match = 0;
      for (int i = 0; i < 32; i++) match |= static_cast<int64_t>(i / 5 == lane / 5) << i;
      const int64_t want[11] = {50, (lane / 8 * 8 + (lane + 3) % 8) * 10, lane < 3 ? lane : lane - 3, lane % 16 < 14 ? lane + 2 : lane,
                                lane ^ 1, lane ^ 16, 0x49249249, 1, 0, match, lane < 8 ? lane ^ 7 : 31};
      for (int row = 0; row < 11; row++) CHECK_EQUAL(got[static_cast<size_t>(row * 32 + lane)], want[row]);
    }
  }
}

TEST("a transposition through shared memory") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    const int rows = 45, columns = 70;
    const auto from = numbers(static_cast<size_t>(rows * columns));
    float* to = device.allocate<float>(from.size());
    CHECK_EQUAL(device.run(transpose_kernel, {dim3(3, 2), 256}, device.upload(from), to, rows, columns), "");
    const auto got = device.download(to, from.size());
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < columns; c++) CHECK_EQUAL(got[static_cast<size_t>(c * rows + r)], from[static_cast<size_t>(r * columns + c)]);
    }
  }
}

TEST("neighbouring threads write the halves of a word") {
  EmulatedDevice device;
  auto* to = device.allocate<uint32_t>(64);
  const auto from = numbers(128);
  CHECK_EQUAL(device.run(halves_kernel, {dim3(1), 128, 16 + 256}, device.upload(from), to), "");
  const auto got = device.download(to, 64);
  for (size_t i = 0; i < 64; i++) CHECK_EQUAL(got[i], pack_pair<BF16>(from[2 * i], from[2 * i + 1]));
}

TEST("tensor core products with both ways to load matrices") {
  check_product<BF16, false>();
  check_product<BF16, true>();
  check_product<F16, false>();
  check_product<F16, true>();
}

TEST("a pipeline of asynchronous copies") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    const int threads = 96, steps = 7;
    const auto from = numbers(static_cast<size_t>(threads * 4 * steps));
    float* to = device.allocate<float>(threads);
    CHECK_EQUAL(device.run(pipeline_kernel, {dim3(1), threads, threads * 16 * 3}, device.upload(from), to, steps), "");
    const auto got = device.download(to, threads);
    for (int t = 0; t < threads; t++) {
      float want = 0.0f;
      for (int s = 0; s < steps; s++) {
        for (int i = 0; i < 4; i++) want += from[static_cast<size_t>(s * threads * 4 + (t + 1) % threads * 4 + i)];
      }
      CHECK(std::fabs(got[static_cast<size_t>(t)] - want) < 1e-3f);
    }
  }
}

TEST("blocks of a cooperative launch hand on to each other and meet") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    const unsigned blocks = 20;
    const LaunchShape shape{dim3(blocks), 64, 0, true};
    auto* flags = device.upload(std::vector<int32_t>(blocks));
    auto* values = device.allocate<int64_t>(blocks);
    CHECK_EQUAL(device.run(chain_kernel, shape, flags, values), "");
    CHECK_EQUAL(device.download(values, blocks).back(), 20);
    auto* counter = device.upload(std::vector<int32_t>(1));
    auto *out = device.allocate<int32_t>(blocks), *total = device.allocate<int32_t>(blocks);
    CHECK_EQUAL(device.run(meeting_kernel, shape, counter, device.upload(std::vector<int32_t>(blocks, 3)), out, total), "");
    for (const int32_t sum : device.download(total, blocks)) CHECK_EQUAL(sum, 120);
  }
}

TEST("barriers that count") {
  EmulatedDevice device;
  int* out = device.allocate<int>(101);
  CHECK_EQUAL(device.run(votes_kernel, {dim3(1), 101}, out), "");
  for (const int value : device.download(out, 101)) CHECK_EQUAL(value, 1 + 0 + 100 * 50);
}

TEST("atomics and a kernel's refusal") {
  EmulatedDevice device;
  int* counter = device.upload(std::vector<int>(1));
  auto* most = device.upload(std::vector<unsigned>(1));
  auto* slot = device.upload(std::vector<FailureSlot>(1));
  CHECK_EQUAL(device.run(count_kernel, {dim3(7), 33}, counter, most, Failure{slot, 5}), "");
  CHECK_EQUAL(device.download(counter, 1)[0], 7 * 33);
  CHECK_EQUAL(device.download(most, 1)[0], 7u * 33 - 1);
  CHECK_EQUAL(device.download(slot, 1)[0].code, 5);
  CHECK_EQUAL(device.download(slot, 1)[0].values[1], 22);
}

TEST("an order that lanes know through others is an order") {
  for (const char* seed : kSeeds) {
    const Environment environment("HEDDLE_EMULATOR_SEED", seed);
    EmulatedDevice device;
    int* out = device.allocate<int>(2);
    CHECK_EQUAL(device.run(relay_kernel, {dim3(1), 32}, out), "");
    CHECK_EQUAL(device.download(out, 2)[0], 42);
    CHECK_EQUAL(device.download(out, 2)[1], 43);
  }
}

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
