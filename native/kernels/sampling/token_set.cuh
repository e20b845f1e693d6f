// A row's tokens in device memory and what one block finds out about them: sums, cuts, the draw.
//
// Every warp owns one run of neighbouring entries, so that order of id is order of warp, round, lane. All sums are f64 in one
// fixed order. Every function is called by the whole block and returns the same to all threads.
#pragma once
#include <cfloat>

#include "cuda/vocabulary.cuh"

namespace heddle {

inline constexpr int kMostWarps = 16;

// NaN counts as -infinity, +infinity as the largest finite number; there is one zero.
__device__ __forceinline__ float tame(float x) { return x != x ? -HUGE_VALF : (x > FLT_MAX ? FLT_MAX : x + 0.0f); }

// Ascending with the logit.
__device__ __forceinline__ uint32_t key_of(float logit) {
  const uint32_t bits = __float_as_uint(logit);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float logit_of(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

// Entries in order of id: all tokens, or a list of some.
struct TokenSet {
  const float* logits;
  const int32_t* ids;  // nullptr: entry i is token i
  int count;

  __device__ float logit(int i) const { return tame(logits[i]); }
  __device__ int id(int i) const { return ids == nullptr ? i : ids[i]; }

  __device__ int run() const {
    const int warps = static_cast<int>(blockDim.x) / kWarp;
    return ((count + warps - 1) / warps + kWarp - 1) / kWarp * kWarp;
  }
  __device__ int64_t begin(int warp) const { return int64_t{warp} * run(); }
  __device__ int64_t end(int warp) const {
    const int64_t to = begin(warp) + run();
    return to < count ? to : count;
  }
  // body(entry) for this thread's entries, ascending.
  template <class Body>
  __device__ __forceinline__ void for_own(const Body& body) const {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int to = static_cast<int>(end(warp));
#pragma unroll 8
    for (int i = static_cast<int>(begin(warp)) + static_cast<int>(threadIdx.x) % kWarp; i < to; i += kWarp) body(i);
  }
};

// The tokens that stay: those above a key, and of those that have it the ones up to an id.
struct Cut {
  uint32_t key = 0;
  int last = INT32_MAX;

  __device__ bool keeps(float logit, int id) const {
    const uint32_t other = key_of(logit);
    return other > key || (other == key && id <= last);
  }
};

struct SetScratch {
  SharedPointer<double> sums;  // 2 * 3 * kMostWarps
  SharedPointer<int> counts;   // 2 * kMostWarps
  int turn = 0;                // which half is free: one barrier per exchange is enough
};

// Sums over the block of three values at once.
__device__ inline void sum_three(double (&values)[3], SetScratch& scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const SharedPointer<double> sums = scratch.sums + scratch.turn * 3 * kMostWarps;
  scratch.turn ^= 1;
#pragma unroll
  for (int i = 0; i < 3; i++) {
    values[i] = warp_sum(values[i]);
    if (lane == 0) sums[i * kMostWarps + warp] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 3; i++) values[i] = warp_sum(lane < warps ? static_cast<double>(sums[i * kMostWarps + lane]) : 0.0);
}
__device__ inline double sum_one(double value, SetScratch& scratch) {
  double values[3] = {value, 0.0, 0.0};
  sum_three(values, scratch);
  return values[0];
}

// For each warp how much all before it have, and the total.
struct WarpCounts {
  int before, total;
};
__device__ inline WarpCounts count_by_warp(int own, SetScratch& scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const SharedPointer<int> counts = scratch.counts + scratch.turn * kMostWarps;
  scratch.turn ^= 1;
  own = warp_sum(own);
  if (lane == 0) counts[warp] = own;
  __syncthreads();
  const int other = lane < warps ? static_cast<int>(counts[lane]) : 0;
  return {warp_sum(lane < warp ? other : 0), warp_sum(other)};
}

template <class Measure>
__device__ double sum_over(const TokenSet& tokens, const Measure& measure, SetScratch& scratch) {
  double sum = 0;
  tokens.for_own([&](int i) { sum += measure(i); });
  return sum_one(sum, scratch);
}

// The largest key such that the measures of all entries at or above it reach `goal` > 0; 0 when all together do not.
// Two bits at a time, so the cost does not depend on the logits.
template <class Measure>
__device__ uint32_t find_key(const TokenSet& tokens, double goal, const Measure& measure, SetScratch& scratch) {
  uint32_t key = 0;
  for (int shift = 30; shift >= 0; shift -= 2) {
    const uint32_t step = 1u << shift;
    double sums[3] = {};
    tokens.for_own([&](int i) {
      const uint32_t other = key_of(tokens.logit(i));
      if (other < key + step) return;
      const double part = measure(i);
      sums[0] += part;
      if (other >= key + 2 * step) sums[1] += part;
      if (other >= key + 3 * step) sums[2] += part;
    });
    sum_three(sums, scratch);
    key += (sums[2] >= goal ? 3 : sums[1] >= goal ? 2 : sums[0] >= goal ? 1 : 0) * step;
  }
  return key;
}

// Where the running sum of the measures, most likely token first and ties by lower id, reaches `goal` > 0. Entries of one key
// have the measure `of_key(key)` or, when they are out already, 0.
template <class Measure, class OfKey>
__device__ Cut find_cut(const TokenSet& tokens, double goal, const Measure& measure, const OfKey& of_key, SetScratch& scratch) {
  Cut cut;
  cut.key = find_key(tokens, goal, measure, scratch);
  if (cut.key == 0) return cut;  // rounding left the sum short: all stay
  const double passed = sum_over(tokens, [&](int i) { return key_of(tokens.logit(i)) > cut.key ? measure(i) : 0.0; }, scratch);
  const auto tied = [&](int i) { return key_of(tokens.logit(i)) == cut.key && measure(i) > 0; };
  int own = 0;
  tokens.for_own([&](int i) { own += tied(i) ? 1 : 0; });
  const WarpCounts ties = count_by_warp(own, scratch);
  double wanted = ceil((goal - passed) / of_key(cut.key));
  wanted = wanted >= 1 ? wanted : 1;
  const int rank = wanted < ties.total ? static_cast<int>(wanted) : ties.total;  // the tie, counted from 1, that is the last to stay

  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const SharedPointer<int> found = scratch.counts + scratch.turn * kMostWarps;
  scratch.turn ^= 1;
  if (threadIdx.x == 0 && ties.total == 0) found[0] = INT32_MAX;
  const int here = warp_sum(own);
  if (rank > ties.before && rank <= ties.before + here) {
    int before = ties.before;
    for (int64_t first = tokens.begin(warp); first < tokens.end(warp) && before < rank; first += kWarp) {
      const int i = static_cast<int>(first) + lane;
      const bool match = i < tokens.end(warp) && tied(i);
      const unsigned matches = __ballot_sync(kFullWarp, match);
      const int at = before + __popc(matches & ((2u << lane) - 1));
      if (match && at == rank) found[0] = tokens.id(i);
      before += __popc(matches);
    }
  }
  __syncthreads();
  cut.last = found[0];
  return cut;
}

// The entries that `stays` accepts, in order; returns how many. More than `room`: none is written.
template <class Stays>
__device__ int compact(const TokenSet& tokens, const Stays& stays, int room, float* logits, int32_t* ids, SetScratch& scratch) {
  int own = 0;
  tokens.for_own([&](int i) { own += stays(i) ? 1 : 0; });
  const WarpCounts counts = count_by_warp(own, scratch);
  if (counts.total > room) return counts.total;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  int at = counts.before;
  for (int64_t first = tokens.begin(warp); first < tokens.end(warp); first += kWarp) {
    const int i = static_cast<int>(first) + lane;
    const bool stay = i < tokens.end(warp) && stays(i);
    const unsigned matches = __ballot_sync(kFullWarp, stay);
    if (stay) {
      const int to = at + __popc(matches & ((1u << lane) - 1));
      logits[to] = tokens.logit(i);
      ids[to] = tokens.id(i);
    }
    at += __popc(matches);
  }
  __syncthreads();
  return counts.total;
}

// The first token, in order of id, at which the running sum of the weights exceeds `uniform` times their sum; the last with any
// weight when rounding kept it below, and 0 when none has any.
template <class Weight>
__device__ int draw(const TokenSet& tokens, double uniform, const Weight& weight, SetScratch& scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const SharedPointer<double> masses = scratch.sums + scratch.turn * 3 * kMostWarps;
  const SharedPointer<int> found = scratch.counts + scratch.turn * kMostWarps;
  scratch.turn ^= 1;
  double own = 0;
  tokens.for_own([&](int i) { own += weight(i); });
  own = warp_sum(own);
  if (lane == 0) masses[warp] = own;
  if (threadIdx.x == 0) found[0] = 0;
  __syncthreads();
  double total = 0;
  for (int w = 0; w < warps; w++) total += masses[w];
  const double target = uniform * total;
  double passed = 0, passed_before = 0;
  int chosen = 0;
  for (int w = 0; w < warps; w++) {
    const double mass = masses[w];
    if (!(mass > 0)) continue;
    chosen = w;
    passed_before = passed;
    passed += mass;
    if (passed > target) break;
  }
  if (warp == chosen) {
    int token = 0;
    double sum = passed_before;
    for (int64_t first = tokens.begin(warp); first < tokens.end(warp); first += kWarp) {
      const int i = static_cast<int>(first) + lane;
      const double mass = i < tokens.end(warp) ? weight(i) : 0.0;
      double running = mass;
#pragma unroll
      for (int distance = 1; distance < kWarp; distance *= 2) {
        const double other = __shfl_up_sync(kFullWarp, running, distance);
        if (lane >= distance) running += other;
      }
      const unsigned present = __ballot_sync(kFullWarp, mass > 0);
      const unsigned beyond = __ballot_sync(kFullWarp, mass > 0 && sum + running > target);
      const unsigned pick = beyond != 0 ? beyond & (~beyond + 1) : present;
      const int at = 31 - __clz(static_cast<int>(pick));
      if (pick != 0) token = __shfl_sync(kFullWarp, i < tokens.end(warp) ? tokens.id(i) : 0, at);
      if (beyond != 0) break;
      sum += __shfl_sync(kFullWarp, running, kWarp - 1);
    }
    if (lane == 0) found[0] = token;
  }
  __syncthreads();
  return found[0];
}

}  // namespace heddle
