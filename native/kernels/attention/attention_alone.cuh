// attention of tokens that stand alone in their request: a block per token, key head and share of its chunks. Each warp takes every
// fourth block of 16 positions; all query heads of the group share one read of its keys and values, which go from global memory to
// registers, the next block's while this one is computed.
#pragma once
#include "kernels/attention/attention_device.cuh"

namespace heddle {

inline constexpr int kAloneThreads = 128;
inline constexpr int kAloneWarps = kAloneThreads / kWarp;

// How the lanes of a warp share a block of keys and of values. A pack is 16 bytes: neighbouring slots of one channel for keys,
// neighbouring channels of one slot for values.
template <class Stored, int Padded>
struct BlockLanes {
  static constexpr int kPack = kPackWidth<Stored>;
  static constexpr int kSlots = static_cast<int>(kBlockTokens);
  static constexpr int kSlotPacks = kSlots / kPack;           // packs of one channel
  static constexpr int kChannelStep = kWarp / kSlotPacks;     // channels from one load of keys to the next
  static constexpr int kRowPacks = Padded / kPack;            // packs of one slot of values
  static constexpr int kSlotStep = kWarp / kRowPacks;         // slots from one load of values to the next
  static constexpr int kLoads = Padded * kSlots / kPack / kWarp;
  static constexpr int kBatch = kLoads > 4 ? 4 : 2;  // loads of keys, and as many of values, that are under way together
  static constexpr int kBatches = kLoads / kBatch;
  static_assert(kRowPacks <= kWarp, "a slot's values fit one load of the warp");
};

// 16 bytes of the cache, kept as words: as elements they would take a register each.
using CacheWords = Pack<uint32_t, 4>;
template <class Stored>
__device__ __forceinline__ CacheWords load_words(const Stored* from) {
  return load_streaming(reinterpret_cast<const uint32_t*>(from));
}
template <class Stored>
__device__ __forceinline__ float element_of(const CacheWords& words, int e);
template <>
__device__ __forceinline__ float element_of<float>(const CacheWords& words, int e) {
  return __uint_as_float(words.v[e]);
}
template <>
__device__ __forceinline__ float element_of<BF16>(const CacheWords& words, int e) {
  return __uint_as_float(e % 2 == 0 ? words.v[e / 2] << 16 : words.v[e / 2] & 0xffff0000u);
}
template <>
__device__ __forceinline__ float element_of<F16>(const CacheWords& words, int e) {
  return to_f32(F16{static_cast<uint16_t>(words.v[e / 2] >> (e % 2 * 16))});
}

template <int Heads>
__device__ __forceinline__ void load_heads(float (&to)[Heads], SharedPointer<float> from) {
  if constexpr (Heads % 4 == 0) {
#pragma unroll
    for (int i = 0; i < Heads; i += 4) {
      const Pack<float, 4> part = load_pack<4>(from + i);
#pragma unroll
      for (int e = 0; e < 4; e++) to[i + e] = part.v[e];
    }
  } else {
#pragma unroll
    for (int i = 0; i < Heads; i++) to[i] = from[i];
  }
}

// Sums values over the lanes that differ in bits `Least` and above of their number. Each lane is left with some of the sums:
// values[0 .. result), which were values[base ..) before. Lanes that are left with the same sums differ in the bits `twins`.
struct LaneShare {
  int base, twins;
};
template <int Count, int Distance, int Least, int All>
__device__ __forceinline__ void share_sums(float (&values)[All], LaneShare& share) {
  if constexpr (Distance >= Least) {
    if constexpr (Count > 1) {
      constexpr int kLeft = Count / 2;
      const bool upper = (threadIdx.x & Distance) != 0;
#pragma unroll
      for (int i = 0; i < kLeft; i++) {
        const float mine = upper ? values[i + kLeft] : values[i], other = upper ? values[i] : values[i + kLeft];
        values[i] = mine + __shfl_xor_sync(kFullWarp, other, Distance);
      }
      share.base += upper ? kLeft : 0;
      share_sums<kLeft, Distance / 2, Least>(values, share);
    } else {
      values[0] += __shfl_xor_sync(kFullWarp, values[0], Distance);
      share.twins |= Distance;
      share_sums<1, Distance / 2, Least>(values, share);
    }
  }
}

template <class Stored, int Padded, int Heads>
__global__ void __launch_bounds__(kAloneThreads, Heads > 4 ? 2 : (Heads > 1 ? 3 : 4)) attend_alone(const AttentionShape shape) {
  using Lanes = BlockLanes<Stored, Padded>;
  constexpr int kPack = Lanes::kPack, kBatch = Lanes::kBatch;
  constexpr int kHeadLanes = kWarp / Heads;                                       // lanes that weigh one head's scores
  constexpr int kLaneScores = Lanes::kSlots > kHeadLanes ? Lanes::kSlots / kHeadLanes : 1;
  constexpr int kShared = Heads * kPack * Lanes::kSlotPacks / kWarp;
  constexpr int kSums = kShared > 0 ? kShared : 1;                                // scores that a lane is left with
  HEDDLE_SHARED(float, queries, Padded * Heads);                                  // [channel][head]
  HEDDLE_SHARED(float, all_scores, kAloneWarps * Lanes::kSlots * Heads);          // per warp [slot][head]
  HEDDLE_SHARED(float, all_factors, kAloneWarps * Heads);
  HEDDLE_SHARED(float, maxima, kAloneWarps * Heads);
  HEDDLE_SHARED(float, totals, kAloneWarps * Heads);
  HEDDLE_SHARED(float, outputs, kAloneWarps * Heads * Padded);
  HEDDLE_SHARED(float, running, Heads * Padded);
  HEDDLE_SHARED(float, running_maxima, Heads);
  HEDDLE_SHARED(float, running_totals, Heads);
  HEDDLE_SHARED(float, kept, Heads);
  HEDDLE_SHARED(float, added, Heads);

  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  const int parts = (shape.group + Heads - 1) / Heads;
  int64_t item = blockIdx.x;
  const int split = static_cast<int>(item % shape.splits);
  item /= shape.splits;
  const int part = static_cast<int>(item % parts);
  item /= parts;
  const int key_head = static_cast<int>(item % shape.key_heads);
  const int64_t token = item / shape.key_heads;
  if (shape.positions[token] < 0 || !shape.is_alone(token)) return;
  const int first_head = key_head * shape.group + part * Heads, heads = min(Heads, shape.group - part * Heads);
  const SeenPositions seen = seen_positions(shape, token);
  const ChunkPlan plan(seen);
  if (plan.chunks == 0) {
    if (split == 0)
      for (int i = thread; i < heads * shape.width; i += kAloneThreads) shape.output(token, first_head)[i] = 0;
    return;
  }
  const int share = (plan.chunks + shape.splits - 1) / shape.splits;
  const int first_chunk = split * share, last_chunk = min(plan.chunks, first_chunk + share);
  if (first_chunk >= last_chunk) return;

#pragma unroll 1
  for (int i = thread; i < Heads * Padded; i += kAloneThreads) {
    const int head = i % Heads, channel = i / Heads;
    queries[i] = head < heads && channel < shape.width ? shape.query(token, first_head + head)[channel] * shape.scale : 0.0f;
  }
#pragma unroll 1
  for (int i = thread; i < Heads * Padded; i += kAloneThreads) running[i] = 0;
  if (thread < Heads) {
    running_maxima[thread] = -HUGE_VALF;
    running_totals[thread] = 0;
  }
  __syncthreads();

  const auto scores = all_scores + warp * Lanes::kSlots * Heads;
  const auto factors = all_factors + warp * Heads;
  const int request = shape.request[token];
  const int key_channel = lane / Lanes::kSlotPacks, key_slot = lane % Lanes::kSlotPacks * kPack;
  const int value_slot = lane / Lanes::kRowPacks, value_channel = lane % Lanes::kRowPacks * kPack;
  const CacheWords nothing = {};
  CacheWords keys[kBatch], values[kBatch];

  const auto page_of = [&](int block) { return find_page<const Stored>(shape.layer, shape.failures, request, block); };
  const auto load_keys = [&](const Stored* page, int batch) {
    const int channel = key_channel + batch * kBatch * Lanes::kChannelStep;
    const Stored* from = page + key_offset(shape.width, key_head, channel, key_slot);
#pragma unroll
    for (int i = 0; i < kBatch; i++)
      keys[i] = page != nullptr && channel + i * Lanes::kChannelStep < shape.width ? load_words(from + i * Lanes::kChannelStep * Lanes::kSlots)
                                                                                   : nothing;
  };
  // Slots that the token does not see may hold anything: they are not read.
  const auto load_values = [&](const Stored* page, int block, int batch) {
    const int slot = value_slot + batch * kBatch * Lanes::kSlotStep;
    const Stored* from = page + value_offset(shape.key_heads, shape.width, key_head, slot, value_channel);
    const bool present = page != nullptr && value_channel < shape.width;
    const int step = Lanes::kSlotStep * shape.width;
    const unsigned before = static_cast<unsigned>(block * Lanes::kSlots + slot - seen.begin), count = static_cast<unsigned>(seen.end - seen.begin);
#pragma unroll
    for (int i = 0; i < kBatch; i++)
      values[i] = present && before + static_cast<unsigned>(i * Lanes::kSlotStep) < count ? load_words(from + i * step) : nothing;
  };

  for (int chunk = first_chunk; chunk < last_chunk; chunk++) {
    const int chunk_end = plan.first_block + min(plan.blocks, (chunk + 1) * plan.per_chunk);
    int block = plan.first_block + chunk * plan.per_chunk + warp;
    float maximum = -HUGE_VALF, total = 0;  // of head lane / kHeadLanes; `total` of this lane's slots
    float sums[Heads][kPack] = {};
    const Stored* page = block < chunk_end ? page_of(block) : nullptr;
    load_keys(page, 0);
    load_values(page, block, 0);
    for (; block < chunk_end; block += kAloneWarps) {
      const int next = block + kAloneWarps;
      const Stored* next_page = next < chunk_end ? page_of(next) : nullptr;
      float products[Heads * kPack] = {};
#pragma unroll 1
      for (int batch = 0; batch < Lanes::kBatches; batch++) {
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
          float query[Heads];
          load_heads(query, queries + (key_channel + (batch * kBatch + i) * Lanes::kChannelStep) * Heads);
#pragma unroll
          for (int e = 0; e < kPack; e++) {
            const float key = element_of<Stored>(keys[i], e);
#pragma unroll
            for (int h = 0; h < Heads; h++) products[h * kPack + e] = fmaf(query[h], key, products[h * kPack + e]);
          }
        }
        if (batch + 1 < Lanes::kBatches)
          load_keys(page, batch + 1);
        else
          load_keys(next_page, 0);
      }
      LaneShare own = {0, 0};
      share_sums<Heads * kPack, kWarp / 2, Lanes::kSlotPacks>(products, own);
      __syncwarp();
      if ((lane & own.twins) == 0)
#pragma unroll
        for (int i = 0; i < kSums; i++) scores[(key_slot + (own.base + i) % kPack) * Heads + (own.base + i) / kPack] = products[i];
      __syncwarp();

      // Weights: kHeadLanes lanes per head.
      const int head = lane / kHeadLanes;
      float mine[kLaneScores], top = -HUGE_VALF;
      bool sees[kLaneScores];
#pragma unroll
      for (int i = 0; i < kLaneScores; i++) {
        const int slot = lane % kHeadLanes + i * kHeadLanes, position = block * Lanes::kSlots + slot;
        sees[i] = slot < Lanes::kSlots && page != nullptr && position >= seen.begin && position < seen.end;
        mine[i] = sees[i] ? static_cast<float>(scores[slot * Heads + head]) : -HUGE_VALF;
        if (shape.soft_cap > 0 && sees[i]) mine[i] = shape.soft_cap * tanhf(mine[i] * (1.0f / shape.soft_cap));
        top = fmaxf(top, mine[i]);
      }
      const float peak = fmaxf(maximum, warp_max<kHeadLanes>(top));
      const float base = peak == -HUGE_VALF ? 0.0f : peak;  // -inf minus itself would be NaN
      const float factor = peak == maximum ? 1.0f : expf(maximum - base);
      maximum = peak;
      total *= factor;
#pragma unroll
      for (int i = 0; i < kLaneScores; i++) {
        const int slot = lane % kHeadLanes + i * kHeadLanes;
        const float weight = sees[i] ? expf(mine[i] - base) : 0.0f;
        total += weight;
        if (slot < Lanes::kSlots) scores[slot * Heads + head] = weight;
      }
      if (lane % kHeadLanes == 0) factors[head] = factor;
      __syncwarp();

      if (__any_sync(kFullWarp, factor != 1.0f)) {
        float scaled[Heads];
        load_heads(scaled, factors);
#pragma unroll
        for (int h = 0; h < Heads; h++)
#pragma unroll
          for (int e = 0; e < kPack; e++) sums[h][e] *= scaled[h];
      }
#pragma unroll 1
      for (int batch = 0; batch < Lanes::kBatches; batch++) {
#pragma unroll
        for (int i = 0; i < kBatch; i++) {
          float weight[Heads];
          load_heads(weight, scores + (value_slot + (batch * kBatch + i) * Lanes::kSlotStep) * Heads);
#pragma unroll
          for (int e = 0; e < kPack; e++) {
            const float value = element_of<Stored>(values[i], e);
#pragma unroll
            for (int h = 0; h < Heads; h++) sums[h][e] = fmaf(weight[h], value, sums[h][e]);
          }
        }
        if (batch + 1 < Lanes::kBatches)
          load_values(page, block, batch + 1);
        else
          load_values(next_page, next, 0);
      }
      page = next_page;
    }

    // The warps' results become the chunk's.
    total = warp_sum<kHeadLanes>(total);
    if (lane % kHeadLanes == 0) {
      maxima[warp * Heads + lane / kHeadLanes] = maximum;
      totals[warp * Heads + lane / kHeadLanes] = total;
    }
#pragma unroll
    for (int h = 0; h < Heads; h++) {
#pragma unroll
      for (int e = 0; e < kPack; e++)
#pragma unroll
        for (int distance = Lanes::kRowPacks; distance < kWarp; distance *= 2) sums[h][e] += __shfl_xor_sync(kFullWarp, sums[h][e], distance);
      if (value_slot == 0)
#pragma unroll
        for (int e = 0; e < kPack; e++) outputs[(warp * Heads + h) * Padded + value_channel + e] = sums[h][e];
    }
    __syncthreads();
    const int64_t partial = ((token * shape.heads + first_head) * shape.chunks + chunk);
    if (thread < heads) {
      float most = maxima[thread];
#pragma unroll
      for (int w = 1; w < kAloneWarps; w++) most = fmaxf(most, maxima[w * Heads + thread]);
      const float base = most == -HUGE_VALF ? 0.0f : most;
      float chunk_total = 0;
#pragma unroll
      for (int w = 0; w < kAloneWarps; w++) {
        const float factor = expf(maxima[w * Heads + thread] - base);
        maxima[w * Heads + thread] = factor;
        chunk_total = fmaf(totals[w * Heads + thread], factor, chunk_total);
      }
      if (shape.splits > 1) {
        float* to = shape.partial_sums + (partial + int64_t{thread} * shape.chunks) * 2;
        to[0] = most;
        to[1] = chunk_total;
      } else {
        const Merge merge(running_maxima[thread], most);
        running_maxima[thread] = merge.maximum;
        running_totals[thread] = merge(running_totals[thread], chunk_total);
        kept[thread] = merge.kept;
        added[thread] = merge.added;
      }
    }
    __syncthreads();
#pragma unroll 1
    for (int i = thread; i < heads * Padded; i += kAloneThreads) {
      const int head = i / Padded, channel = i % Padded;
      if (channel >= shape.width) continue;
      float sum = 0;
#pragma unroll
      for (int w = 0; w < kAloneWarps; w++) sum = fmaf(outputs[(w * Heads + head) * Padded + channel], maxima[w * Heads + head], sum);
      if (shape.splits > 1) {
        shape.partial[(partial + int64_t{head} * shape.chunks) * shape.width + channel] = sum;
        continue;
      }
      const float merged = fmaf(running[i], kept[head], sum * added[head]);
      running[i] = merged;
      if (chunk + 1 == last_chunk) shape.output(token, first_head + head)[channel] = merged / running_totals[head];
    }
    __syncthreads();
  }
}

}  // namespace heddle
