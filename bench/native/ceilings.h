// What this machine can do at most: probes of the multiply-add peak and of the read bandwidth. A bench includes this file after
// cpu/foreach_target.h, so that each pass of its own file compiles the probes for one more target.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

#if defined(HEDDLE_TARGET_AVX512)
inline constexpr int kChains = 24;
#else
inline constexpr int kChains = 12;
#endif

// Operations of `steps` multiply-adds on kChains independent registers.
double peak_probe(int64_t steps, float* sink, bool dot);
double peak_probe(int64_t steps, float* sink, [[maybe_unused]] bool dot) {
  Vector sum[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; i++) sum[i] = broadcast(sink[i]);
  double operations = 2.0 * kLanes * kChains * static_cast<double>(steps);
#if defined(HEDDLE_TARGET_BF16_DOT)
  if (dot) {
    const __m512i w = _mm512_set1_epi32(0x3f803f80 + static_cast<int>(sink[0])), x = _mm512_set1_epi32(0x33803380);
    for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 24
      for (int i = 0; i < kChains; i++) sum[i].v = _mm512_dpbf16_ps(sum[i].v, (__m512bh)w, (__m512bh)x);
    }
    operations *= 2;
  } else
#endif
  {
    const Vector w = broadcast(0.5f + sink[0]), x = broadcast(0.25f);
    for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 24
      for (int i = 0; i < kChains; i++) sum[i] = fma(sum[i], w, x);
    }
  }
  Vector total = zero();
#pragma GCC unroll 24
  for (int i = 0; i < kChains; i++) total = add(total, sum[i]);
  sink[kChains] = reduce_add(total);
  return operations;
}

void read_probe(const float* from, int64_t count, float* sink);
void read_probe(const float* from, int64_t count, float* sink) {
  Vector sum[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) sum[i] = zero();
  for (int64_t at = 0; at + 8 * kLanes <= count; at += 8 * kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sum[i] = add(sum[i], load(from + at + i * kLanes));
  }
  Vector total = zero();
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) total = add(total, sum[i]);
  *sink = reduce_add(total);
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle::ceilings {

inline bool cpu_clock = false;

inline double seconds(int threads) {
  if (cpu_clock) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC / threads;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Zeroed, aligned, on huge pages where there are any; never given back.
inline std::byte* allocate(size_t bytes) {
#if defined(__linux__)
  const size_t huge = size_t{2} << 20;
  std::byte* memory = static_cast<std::byte*>(mmap(nullptr, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  memory += (huge - reinterpret_cast<uintptr_t>(memory) % huge) % huge;
  madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
#else
  return static_cast<std::byte*>(std::calloc(bytes + 63, 1));
#endif
}

struct Machine {
  ThreadPool pool;
  std::byte* memory;
  size_t bytes;
  size_t at = 0;
  std::vector<float> sinks;

  double peak(bool dot) {
    const int64_t chunks = 8 * pool.threads();
    std::vector<double> operations(static_cast<size_t>(chunks));
    const auto probe = HEDDLE_DISPATCH(peak_probe);
    const double start = seconds(pool.threads());
    pool.parallel(chunks, [&](int64_t chunk, int worker) { operations[static_cast<size_t>(chunk)] = probe(10'000, &sinks[static_cast<size_t>(worker) * 64], dot); });
    const double took = seconds(pool.threads()) - start;
    double total = 0;
    for (double value : operations) total += value;
    return total / took;
  }

  double bandwidth() {
    constexpr int64_t kChunk = 1 << 18, kChunks = 128;
    const auto probe = HEDDLE_DISPATCH(read_probe);
    if (at + kChunk * kChunks > bytes) at = 0;
    const std::byte* from = memory + at;
    at += kChunk * kChunks;
    const double start = seconds(pool.threads());
    pool.parallel(kChunks, [&](int64_t chunk, int worker) {
      probe(reinterpret_cast<const float*>(from + chunk * kChunk), kChunk / 4, &sinks[static_cast<size_t>(worker) * 64 + 48]);
    });
    return static_cast<double>(kChunk * kChunks) / (seconds(pool.threads()) - start);
  }
};

}  // namespace heddle::ceilings
#endif  // HEDDLE_ONCE
