// sample: a block per row makes a few passes over its logits, which stay in the L2 cache. Cuts are found by the bits of the logits
// instead of by sorting, on a short list wherever a bound can be had first. A row's token depends on its own row alone.
#include <climits>
#include <algorithm>
#include <cmath>
#include <string>

#include "generated/sampling_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/sampling/philox.h"
#include "kernels/sampling/sampling_checks.h"
#include "kernels/sampling/token_set.cuh"

namespace heddle {
namespace {

constexpr int kMostThreads = 512;
constexpr int64_t kListRoom = 8192;  // tokens of a list; what does not fit is searched in place
// In the counts that become adjusted logits: token is in the history, token has a bias. Below: times that it was generated.
constexpr int kSeen = 1 << 29, kBiased = 1 << 30, kGenerated = kSeen - 1;

struct SampleJob {
  const float *logits, *controls, *bias_values;
  const int32_t *positions, *integers, *history, *history_state, *bias_tokens;
  int32_t *token, *top_tokens;
  float *logprob, *top_logprobs;
  int64_t rows, logits_stride, slots, capacity, biases, tops;
  int vocabulary;
  std::byte* workspace;
  int64_t block_bytes;
  int list_room;
  Failure no_slot, bad_lengths, bad_bias, bad_history;
};

// One block's part of the workspace.
struct BlockMemory {
  union {
    int32_t* counts;
    float* adjusted;
  };
  float *list_logits, *top_list_logits, *maxima;
  int32_t *list_ids, *top_list_ids;
  int64_t bytes;

  __host__ __device__ static BlockMemory at(std::byte* base, int64_t vocabulary, int64_t list_room) {
    BlockMemory memory;
    int64_t used = 0;
    const auto take = [&](int64_t words) {
      std::byte* part = base + used;
      used += (words * 4 + 255) / 256 * 256;
      return part;
    };
    memory.counts = reinterpret_cast<int32_t*>(take(vocabulary));
    memory.list_logits = reinterpret_cast<float*>(take(list_room));
    memory.list_ids = reinterpret_cast<int32_t*>(take(list_room));
    memory.top_list_logits = reinterpret_cast<float*>(take(list_room));
    memory.top_list_ids = reinterpret_cast<int32_t*>(take(list_room));
    memory.maxima = reinterpret_cast<float*>(take(kMostThreads));
    memory.bytes = used;
    return memory;
  }
};

struct SampleRow {
  const float* logits;
  const float* controls;
  const int32_t *integers, *history, *bias_tokens;
  const float* bias_values;
  int prompt_length, total_length;
};

// False, and reported, when the row's tables point outside.
__device__ bool read_row(const SampleJob& job, int64_t row, SampleRow* out, SetScratch& scratch) {
  out->logits = job.logits + row * job.logits_stride;
  out->controls = job.controls + row * kControlColumns;
  out->integers = job.integers + row * kIntegerColumns;
  out->bias_tokens = job.bias_tokens + row * job.biases;
  out->bias_values = job.bias_values + row * job.biases;
  const int64_t slot = out->integers[kHistorySlot];
  const bool first = threadIdx.x == 0;
  if (slot < 0 || slot >= job.slots) {
    if (first) job.no_slot.report(row, slot, job.slots - 1);
    return false;
  }
  out->history = job.history + slot * job.capacity;
  const int32_t* state = job.history_state + slot * kHistoryStateColumns;
  out->prompt_length = state[kPromptLength];
  out->total_length = state[kTotalLength];
  if (out->prompt_length < 0 || out->prompt_length > out->total_length || out->total_length > job.capacity) {
    if (first) job.bad_lengths.report(row, out->prompt_length, out->total_length, job.capacity);
    return false;
  }
  int bad = 0;
  for (int64_t i = threadIdx.x; i < job.biases; i += blockDim.x) bad += out->bias_tokens[i] >= job.vocabulary ? 1 : 0;
  if (count_by_warp(bad, scratch).total == 0) return true;
  if (first)
    for (int64_t i = 0; i < job.biases; i++)
      if (out->bias_tokens[i] >= job.vocabulary) {
        job.bad_bias.report(row, out->bias_tokens[i], job.vocabulary);
        break;
      }
  return false;
}

struct Maximum {
  float logit;  // -infinity: then the token is 0
  int token;
};

// The first maximum of value(i); each thread's own goes to `maxima`.
template <class Value>
__device__ Maximum find_maximum(const TokenSet& all, const Value& value, float* maxima, SharedPointer<uint64_t> scratch) {
  float best = -HUGE_VALF;
  int at = 0;
  all.for_own([&](int i) {
    const float logit = value(i);
    if (logit > best) {
      best = logit;
      at = i;
    }
  });
  maxima[threadIdx.x] = best;
  const uint64_t own = best > -HUGE_VALF ? static_cast<uint64_t>(key_of(best)) << 32 | (0xffffffffu - static_cast<uint32_t>(at)) : 0;
  const uint64_t most = block_max<uint64_t>(own, scratch);
  if (most == 0) return {-HUGE_VALF, 0};
  return {logit_of(static_cast<uint32_t>(most >> 32)), static_cast<int>(0xffffffffu - static_cast<uint32_t>(most))};
}

struct LogSum {
  float maximum;
  double log_sum;  // of exp(logit - maximum)

  __device__ float logprob(float logit) const {
    return logit == -HUGE_VALF ? -HUGE_VALF : static_cast<float>(static_cast<double>(logit) - maximum - log_sum);
  }
};

// A list that has at least the `wanted` most likely tokens, or all tokens. `maxima` are those of the threads: the wanted-th of
// them is a bound.
__device__ TokenSet likely(const TokenSet& all, int wanted, const float* maxima, int room, float* logits, int32_t* ids, SetScratch& scratch) {
  const int threads = static_cast<int>(blockDim.x);
  if (wanted > threads || wanted >= all.count) return all;
  const TokenSet best = {maxima, nullptr, threads};
  const uint32_t bound = find_key(best, wanted, [](int) { return 1.0; }, scratch);
  const int found = compact(all, [&](int i) { return key_of(all.logit(i)) >= bound; }, room, logits, ids, scratch);
  return found <= room ? TokenSet{logits, ids, found} : all;
}

__device__ void write_top(const SampleJob& job, int64_t row, const TokenSet& all, const LogSum& own, int wanted, const BlockMemory& memory,
                          SetScratch& scratch) {
  int32_t* tokens = job.top_tokens + row * job.tops;
  float* logprobs = job.top_logprobs + row * job.tops;
  if (wanted > 0) {
    const TokenSet some = likely(all, wanted, memory.maxima, job.list_room, memory.list_logits, memory.list_ids, scratch);
    const Cut cut = find_cut(some, wanted, [](int) { return 1.0; }, [](uint32_t) { return 1.0; }, scratch);
    const int found = compact(some, [&](int i) { return cut.keeps(some.logit(i), some.id(i)); }, job.list_room, memory.top_list_logits,
                              memory.top_list_ids, scratch);
    // Few: each counts those before it.
    for (int i = static_cast<int>(threadIdx.x); i < found; i += static_cast<int>(blockDim.x)) {
      const float logit = memory.top_list_logits[i];
      int rank = 0;
      for (int j = 0; j < found; j++) {
        const float other = memory.top_list_logits[j];
        rank += other > logit || (other == logit && j < i) ? 1 : 0;
      }
      tokens[rank] = memory.top_list_ids[i];
      logprobs[rank] = own.logprob(logit);
    }
  }
  for (int64_t i = wanted + threadIdx.x; i < job.tops; i += blockDim.x) {
    tokens[i] = -1;
    logprobs[i] = 0;
  }
  __syncthreads();  // the lists are used again
}

__device__ bool wants_penalties(const SampleRow& row) {
  return row.total_length > 0 && (row.controls[kRepetition] != 1 || row.controls[kFrequency] != 0 || row.controls[kPresence] != 0);
}

// Counts the history's tokens and marks those with a bias. False, and reported, when the history leaves the vocabulary.
__device__ bool count_tokens(const SampleJob& job, int64_t row, const SampleRow& data, int32_t* counts, SetScratch& scratch) {
  for (int i = static_cast<int>(threadIdx.x); i < job.vocabulary; i += static_cast<int>(blockDim.x)) counts[i] = 0;
  __syncthreads();
  int bad = 0;
  const int length = wants_penalties(data) ? data.total_length : 0;
  for (int i = static_cast<int>(threadIdx.x); i < length; i += static_cast<int>(blockDim.x)) {
    const int token = data.history[i];
    if (token < 0 || token >= job.vocabulary) {
      bad++;
      continue;
    }
    atomicOr(counts + token, kSeen);
    if (i >= data.prompt_length) atomicAdd(counts + token, 1);
  }
  for (int64_t i = threadIdx.x; i < job.biases; i += blockDim.x)
    if (data.bias_tokens[i] >= 0) atomicOr(counts + data.bias_tokens[i], kBiased);
  if (count_by_warp(bad, scratch).total == 0) return true;
  if (threadIdx.x == 0) job.bad_history.report(row, job.vocabulary);
  return false;
}

// One logit after bias and penalties, each step rounded to f32.
__device__ float adjust(const SampleJob& job, const SampleRow& row, int token, int marks) {
  float logit = row.logits[token];
  if (marks & kBiased)
    for (int64_t i = 0; i < job.biases; i++)
      if (row.bias_tokens[i] == token) logit += row.bias_values[i];
  if (marks & kSeen) {
    const float repetition = row.controls[kRepetition];
    if (repetition != 1) logit = logit > 0 ? __fdiv_rn(logit, repetition) : __fmul_rn(logit, repetition);
    const int count = marks & kGenerated;
    if (count > 0) logit = __fsub_rn(logit, __fadd_rn(__fmul_rn(row.controls[kFrequency], static_cast<float>(count)), row.controls[kPresence]));
  }
  return logit;
}

// `maxima` are the threads' of these logits.
__device__ int draw_token(const SampleJob& job, const SampleRow& row, const TokenSet& all, float best, const BlockMemory& memory,
                          SetScratch& scratch) {
  const int k = row.integers[kTopK];
  const float top_p = row.controls[kTopP] < 0 ? 0.0f : row.controls[kTopP], min_p = 1.0f < row.controls[kMinP] ? 1.0f : row.controls[kMinP];
  const bool cut_k = k > 0 && k < all.count, cut_p = top_p < 1, cut_min = min_p > 0;
  // Kept inside f32, so that 0 * infinity never appears.
  const float temperature = fminf(row.controls[kTemperature], 1e30f), slope = fminf(1 / temperature, FLT_MAX);
  const double uniform = philox_uniform(static_cast<uint32_t>(row.total_length), static_cast<uint32_t>(row.integers[kSeedLow]),
                                        static_cast<uint32_t>(row.integers[kSeedHigh]));
  const auto weight_of = [&](float logit) { return expf((logit - best) * slope); };
  if (!cut_k && !cut_p && !cut_min) return draw(all, uniform, [&](int i) { return static_cast<double>(weight_of(all.logit(i))); }, scratch);

  double total = 0;
  TokenSet some = all;
  if (cut_k) {
    some = likely(all, k, memory.maxima, job.list_room, memory.list_logits, memory.list_ids, scratch);
  } else {
    // Tokens below weight (1 - p) total / count are together too light to be needed for p.
    double least = 0;
    if (cut_p) {
      total = sum_over(all, [&](int i) { return static_cast<double>(weight_of(all.logit(i))); }, scratch);
      least = 0.99 * (1.0 - top_p) * total / all.count;
    }
    if (cut_min && min_p > least) least = min_p;
    const int found = compact(all, [&](int i) { return weight_of(all.logit(i)) >= least; }, job.list_room, memory.list_logits, memory.list_ids, scratch);
    if (found <= job.list_room) some = {memory.list_logits, memory.list_ids, found};
  }
  Cut cut;
  if (cut_k) cut = find_cut(some, k, [](int) { return 1.0; }, [](uint32_t) { return 1.0; }, scratch);
  if (cut_p) {
    const Cut before = cut;
    const auto mass = [&](int i) {
      const float logit = some.logit(i);
      return before.keeps(logit, some.id(i)) ? static_cast<double>(weight_of(logit)) : 0.0;
    };
    const double goal = top_p * (cut_k ? sum_over(some, mass, scratch) : total);
    cut = find_cut(some, goal > 0 ? goal : DBL_MIN, mass, [&](uint32_t key) { return static_cast<double>(weight_of(logit_of(key))); }, scratch);
    if (cut.key == 0) cut = before;
  }
  return draw(
      some, uniform,
      [&](int i) {
        const float logit = some.logit(i), weight = weight_of(logit);
        return cut.keeps(logit, some.id(i)) && (!cut_min || weight >= min_p) ? static_cast<double>(weight) : 0.0;
      },
      scratch);
}

// The sampled token; -1 when the row was refused.
__device__ int sample_row(const SampleJob& job, int64_t row, const BlockMemory& memory, SetScratch& scratch, SharedPointer<uint64_t> wide) {
  SampleRow data;
  if (!read_row(job, row, &data, scratch)) return -1;
  const TokenSet own = {data.logits, nullptr, job.vocabulary};
  const Maximum best = find_maximum(own, [&](int i) { return own.logit(i); }, memory.maxima, wide);
  LogSum sum = {best.logit, 0};
  if (best.logit > -HUGE_VALF)
    sum.log_sum = log(sum_over(own, [&](int i) { return static_cast<double>(expf(own.logit(i) - best.logit)); }, scratch));
  const int64_t most = job.tops < job.vocabulary ? job.tops : job.vocabulary, asked = data.integers[kTopLogprobs];
  if (job.tops > 0) write_top(job, row, own, sum, static_cast<int>(asked < 0 ? 0 : (asked < most ? asked : most)), memory, scratch);

  int biased = 0;
  for (int64_t i = threadIdx.x; i < job.biases; i += blockDim.x) biased += data.bias_tokens[i] >= 0 ? 1 : 0;
  TokenSet chosen_from = own;
  Maximum top = best;
  if (count_by_warp(biased, scratch).total > 0 || wants_penalties(data)) {
    if (!count_tokens(job, row, data, memory.counts, scratch)) return -1;
    chosen_from.logits = memory.adjusted;
    top = find_maximum(
        chosen_from,
        [&](int i) {
          const float logit = tame(adjust(job, data, i, memory.counts[i]));
          memory.adjusted[i] = logit;
          return logit;
        },
        memory.maxima, wide);
  }
  int token = top.token;
  if (data.controls[kTemperature] > 0 && top.logit > -HUGE_VALF) token = draw_token(job, data, chosen_from, top.logit, memory, scratch);
  if (threadIdx.x == 0) job.logprob[row] = sum.logprob(own.logit(token));
  return token;
}

__global__ void __launch_bounds__(kMostThreads, 1) sample_rows(const SampleJob job) {
  HEDDLE_SHARED(double, sums, 2 * 3 * kMostWarps);
  HEDDLE_SHARED(int, counts, 2 * kMostWarps);
  HEDDLE_SHARED(uint64_t, wide, kWarp);
  SetScratch scratch = {sums, counts};
  const BlockMemory memory = BlockMemory::at(job.workspace + blockIdx.x * job.block_bytes, job.vocabulary, job.list_room);
  for (int64_t row = blockIdx.x; row < job.rows; row += gridDim.x) {
    const int token = job.positions[row] < 0 ? -1 : sample_row(job, row, memory, scratch, wide);
    if (threadIdx.x == 0) job.token[row] = token;
    if (token < 0) {
      if (threadIdx.x == 0) job.logprob[row] = 0;
      for (int64_t i = threadIdx.x; i < job.tops; i += blockDim.x) {
        job.top_tokens[row * job.tops + i] = -1;
        job.top_logprobs[row * job.tops + i] = 0;
      }
    }
    __syncthreads();  // the next row uses the same memory
  }
}

int64_t list_room(const SampleArgs& args) {
  const int64_t vocabulary = args.logits.dims[1], tops = args.top_tokens.dims[1];
  return std::min(vocabulary, std::max(kListRoom, tops));
}
int64_t block_count(const SampleArgs& args, const DeviceLimits& limits) { return std::min<int64_t>(args.logits.dims[0], limits.multiprocessors); }
int64_t block_bytes(const SampleArgs& args) { return BlockMemory::at(nullptr, args.logits.dims[1], list_room(args)).bytes; }

}  // namespace

size_t sample_cuda_workspace(const SampleArgs& args, const DeviceLimits& limits) {
  return static_cast<size_t>(block_count(args, limits) * block_bytes(args));
}

Status sample_cuda(const SampleArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_sample(args));
  const size_t needed = sample_cuda_workspace(args, context.limits);
  HEDDLE_CHECK(context.workspace_bytes >= needed, "sample",
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected " + std::to_string(needed));
  SampleJob job = {};
  job.logits = args.logits.as<const float>();
  job.controls = args.controls.as<const float>();
  job.bias_values = args.bias_values.as<const float>();
  job.positions = args.positions.as<const int32_t>();
  job.integers = args.integers.as<const int32_t>();
  job.history = args.history.as<const int32_t>();
  job.history_state = args.history_state.as<const int32_t>();
  job.bias_tokens = args.bias_tokens.as<const int32_t>();
  job.token = args.token.as<int32_t>();
  job.top_tokens = args.top_tokens.as<int32_t>();
  job.logprob = args.logprob.as<float>();
  job.top_logprobs = args.top_logprobs.as<float>();
  job.rows = args.logits.dims[0];
  job.logits_stride = args.logits.leading_stride;
  job.slots = args.history.dims[0];
  job.capacity = args.history.dims[1];
  job.biases = args.bias_tokens.dims[1];
  job.tops = args.top_tokens.dims[1];
  job.vocabulary = static_cast<int>(args.logits.dims[1]);
  job.workspace = context.workspace;
  job.block_bytes = block_bytes(args);
  job.list_room = static_cast<int>(list_room(args));
  job.no_slot = context.failure("[sample] row {0}: its history slot is {1}: expected 0 to {2}");
  job.bad_lengths = context.failure("[sample] row {0}: its history has lengths {1} and {2}: expected 0 <= prompt <= total <= {3}");
  job.bad_bias = context.failure("[sample] row {0}: bias token {1}: expected less than the vocabulary, {2}");
  job.bad_history = context.failure("[sample] row {0}: its history holds a token outside the vocabulary of {1}");
  // Four logits or more per thread: small vocabularies need no large block.
  const int64_t threads = std::clamp<int64_t>(ceil_div(ceil_div(job.vocabulary, 4), kWarp) * kWarp, kWarp, kMostThreads);
  const LaunchShape shape = {dim3(static_cast<unsigned>(block_count(args, context.limits))), static_cast<unsigned>(threads)};
  return context.launch("sample", sample_rows, shape, job);
}

}  // namespace heddle
