#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/sampling_ops.h"
#include "kernels/sampling/philox.h"
#include "kernels/sampling/sample_job.h"
#include "kernels/sampling/sampling_checks.h"
#include "kernels/sampling/sampling_layout.h"

#define HEDDLE_TARGET_FILE "kernels/sampling/sampling_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/softmax/logit_row.h"

namespace heddle::HEDDLE_TARGET {
namespace {

static_assert(kMassBlock == kLogitBlock);

// The scalar form of tame(Vector).
HEDDLE_INLINE float tame(float x) { return x != x ? -HUGE_VALF : (x > FLT_MAX ? FLT_MAX : x); }

void find_maxima(const float* x, int64_t count, float* maxima) {
  for (int64_t at = 0; at < count; at += kMaximaBlock) *maxima++ = tame(block_max(x + at, std::min(kMaximaBlock, count - at)));
}

void weigh(const float* x, int64_t count, float best, float slope, float* weights) {
  const Vector top = broadcast(best), factor = broadcast(slope);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(weights + i, exp(mul(sub(tame(load(x + i)), top), factor)));
  if (i < count) store_partial(weights + i, exp(mul(sub(tame(load_last(x + i, count - i)), top), factor)), static_cast<int>(count - i));
}

double weigh_blocks(const float* x, int64_t count, float best, float slope, double* masses) {
  double total = 0;
  for (int64_t at = 0; at < count; at += kMassBlock) total += *masses++ = block_exp_sum<true>(x + at, std::min(kMassBlock, count - at), best, slope);
  return total;
}

int32_t first_maximum(const float* x, int64_t count) {
  float best = -HUGE_VALF;
  int64_t at = 0;
  for (int64_t block = 0; block < count; block += kLogitBlock) {
    const float top = tame(block_max(x + block, std::min(kLogitBlock, count - block)));
    if (top > best) {
      best = top;
      at = block;
    }
  }
  if (best > -HUGE_VALF)
    while (!(x[at] >= best)) at++;
  return static_cast<int32_t>(at);
}

// Every block whose maximum is among the k largest maxima holds at least one of k logits that reach the k-th of them.
float bound_of_top(const SampleScratch& scratch, int64_t blocks, int64_t k) {
  if (k > blocks) return -HUGE_VALF;
  std::copy_n(scratch.maxima, blocks, scratch.sorted_maxima);
  std::nth_element(scratch.sorted_maxima, scratch.sorted_maxima + (k - 1), scratch.sorted_maxima + blocks, std::greater<float>());
  return scratch.sorted_maxima[k - 1];
}

void collect(const float* x, int64_t count, float bound, const float* maxima, Candidates* out) {
  int64_t found = 0;
  for (int64_t block = 0; block < count; block += kMaximaBlock) {
    if (*maxima++ < bound) continue;
    const int64_t end = std::min(block + kMaximaBlock, count);
    for (int64_t i = block; i < end; i++) {
      const float value = tame(x[i]);
      out->logit[found] = value;
      out->token[found] = static_cast<int32_t>(i);
      found += value >= bound ? 1 : 0;
    }
  }
  out->count = found;
}

float logprob_of(const LogitSum& own, float logit) {
  return logit == -HUGE_VALF ? -HUGE_VALF : static_cast<float>(static_cast<double>(logit) - own.maximum - std::log(own.sum));
}

void write_top(const SampleRow& row, const LogitSum& own, SampleScratch& scratch) {
  const int64_t wanted = std::clamp<int64_t>(row.integers[kTopLogprobs], 0, std::min(row.tops, row.vocabulary));
  if (wanted > 0) {
    find_maxima(row.logits, row.vocabulary, scratch.maxima);
    const int64_t blocks = (row.vocabulary + kMaximaBlock - 1) / kMaximaBlock;
    collect(row.logits, row.vocabulary, bound_of_top(scratch, blocks, wanted), scratch.maxima, &scratch.candidates);
    scratch.candidates.rank(wanted);
  }
  for (int64_t i = 0; i < row.tops; i++) {
    const int32_t at = i < wanted ? scratch.candidates.order[i] : -1;
    row.top_tokens[i] = at < 0 ? -1 : scratch.candidates.token[at];
    row.top_logprobs[i] = at < 0 ? 0.0f : logprob_of(own, scratch.candidates.logit[at]);
  }
}

bool wants_penalties(const SampleRow& row) {
  return row.total_length > 0 && (row.controls[kRepetition] != 1 || row.controls[kFrequency] != 0 || row.controls[kPresence] != 0);
}

bool wants_bias(const SampleRow& row) {
  for (int64_t i = 0; i < row.biases; i++)
    if (row.bias_tokens[i] >= 0) return true;
  return false;
}

// False when the history holds a token outside the vocabulary.
bool penalise(const SampleRow& row, float* logits, int32_t* counts) {
  const float repetition = row.controls[kRepetition], frequency = row.controls[kFrequency], presence = row.controls[kPresence];
  const int32_t seen = 1 << 30;  // above any count of a history that fits memory
  for (int32_t i = 0; i < row.total_length; i++) {
    if (row.history[i] < 0 || row.history[i] >= row.vocabulary) return false;
    counts[row.history[i]] = seen;
  }
  for (int32_t i = row.prompt_length; i < row.total_length; i++) counts[row.history[i]]++;
  for (int32_t i = 0; i < row.total_length; i++) {
    const int32_t token = row.history[i], count = counts[token] - seen;
    if (count < 0) continue;  // seen before in this loop
    counts[token] = 0;
    float logit = logits[token];
    if (repetition != 1) logit = logit > 0 ? logit / repetition : logit * repetition;
    if (count > 0) logit -= frequency * static_cast<float>(count) + presence;
    logits[token] = logit;
  }
  return true;
}

// A draw from all logits: the block first, then the token within.
int32_t draw_from_all(const float* logits, int64_t count, float best, float slope, double uniform, SampleScratch& scratch) {
  const double target = uniform * weigh_blocks(logits, count, best, slope, scratch.masses);
  const int64_t blocks = (count + kMassBlock - 1) / kMassBlock;
  double passed = 0, passed_before = 0;
  int64_t chosen = 0;
  for (int64_t block = 0; block < blocks; block++) {
    if (!(scratch.masses[block] > 0)) continue;
    chosen = block;
    passed_before = passed;
    passed += scratch.masses[block];
    if (passed > target) break;
  }
  Candidates& within = scratch.candidates;
  const int64_t first = chosen * kMassBlock;
  within.count = std::min(kMassBlock, count - first);
  weigh(logits + first, within.count, best, slope, within.weight);
  for (int64_t i = 0; i < within.count; i++) within.token[i] = static_cast<int32_t>(first + i);
  return within.draw(target - passed_before);
}

int32_t draw_token(const SampleRow& row, const float* logits, float best, SampleScratch& scratch) {
  const int64_t count = row.vocabulary, k = row.integers[kTopK];
  const float top_p = std::max(row.controls[kTopP], 0.0f), min_p = std::min(row.controls[kMinP], 1.0f);
  const bool cut_k = k > 0 && k < count, cut_p = top_p < 1, cut_min = min_p > 0;
  // Kept inside f32, so that 0 * infinity never appears.
  const float temperature = std::min(row.controls[kTemperature], 1e30f), slope = std::min(1 / temperature, FLT_MAX);
  const double uniform = philox_uniform(static_cast<uint32_t>(row.total_length), static_cast<uint32_t>(row.integers[kSeedLow]), static_cast<uint32_t>(row.integers[kSeedHigh]));
  if (!cut_k && !cut_p && !cut_min) return draw_from_all(logits, count, best, slope, uniform, scratch);

  find_maxima(logits, count, scratch.maxima);
  float bound = -HUGE_VALF;
  double total = 0;
  if (cut_k) {
    bound = bound_of_top(scratch, (count + kMaximaBlock - 1) / kMaximaBlock, k);
  } else {
    // Tokens below weight (1 - p) total / count are together too light to be needed for p.
    double least = 0;
    if (cut_p) {
      total = weigh_blocks(logits, count, best, slope, scratch.masses);
      least = (1.0 - top_p) * total / static_cast<double>(count);
    }
    if (cut_min) least = std::max(least, static_cast<double>(min_p));
    // A little lower: this only has to keep enough, the exact cuts follow.
    bound = static_cast<float>(best + temperature * std::log(0.99 * least) - 1e-6 * std::fabs(best));
  }
  Candidates& candidates = scratch.candidates;
  collect(logits, count, std::max(bound, -FLT_MAX), scratch.maxima, &candidates);
  if (cut_k) candidates.keep_top(k);
  weigh(candidates.logit, candidates.count, best, slope, candidates.weight);
  if (cut_p) candidates.keep_mass(top_p * (cut_k ? candidates.mass() : total));
  if (cut_min) candidates.keep_weight(min_p);
  return candidates.draw(uniform * candidates.mass());
}

// False when the history holds a token outside the vocabulary.
bool sample_row(const SampleRow& row, SampleScratch& scratch) {
  const LogitSum own = sum_logits<true>(row.logits, row.vocabulary);
  if (row.tops > 0) write_top(row, own, scratch);
  const float* logits = row.logits;
  if (wants_penalties(row) || wants_bias(row)) {
    std::memcpy(scratch.logits, row.logits, sizeof(float) * static_cast<size_t>(row.vocabulary));
    logits = scratch.logits;
    for (int64_t i = 0; i < row.biases; i++)
      if (row.bias_tokens[i] >= 0) scratch.logits[row.bias_tokens[i]] += row.bias_values[i];
    if (wants_penalties(row) && !penalise(row, scratch.logits, scratch.candidates.order)) return false;
  }
  int32_t token = logits == row.logits ? static_cast<int32_t>(own.first) : first_maximum(logits, row.vocabulary);
  const float best = tame(logits[token]);
  if (row.controls[kTemperature] > 0 && best > -HUGE_VALF) token = draw_token(row, logits, best, scratch);
  *row.token = token;
  *row.logprob = logprob_of(own, tame(row.logits[token]));
  return true;
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

Status refuse(int64_t row, const std::string& what) { return fail(StatusCode::kInvalidArgument, "[sample] row " + std::to_string(row) + ": " + what); }

Status check_row(const SampleArgs& args, int64_t row) {
  const int32_t slot = args.integers.row<int32_t>(row)[kHistorySlot];
  if (slot < 0 || slot >= args.history.dims[0])
    return refuse(row, "its history slot is " + std::to_string(slot) + ": expected 0 to " + std::to_string(args.history.dims[0] - 1));
  const int32_t* state = args.history_state.as<int32_t>() + slot * int64_t{kHistoryStateColumns};
  if (state[kPromptLength] < 0 || state[kPromptLength] > state[kTotalLength] || state[kTotalLength] > args.history.dims[1])
    return refuse(row, "its history has lengths " + std::to_string(state[kPromptLength]) + " and " + std::to_string(state[kTotalLength]) +
                           ": expected 0 <= prompt <= total <= " + std::to_string(args.history.dims[1]));
  const int64_t biases = args.bias_tokens.dims[1];
  for (int64_t i = 0; i < biases; i++) {
    const int32_t token = args.bias_tokens.as<int32_t>()[row * biases + i];
    if (token >= args.logits.dims[1])
      return refuse(row, "bias token " + std::to_string(token) + ": expected less than the vocabulary, " + std::to_string(args.logits.dims[1]));
  }
  return Status::success();
}

SampleRow row_of(const SampleArgs& args, int64_t row) {
  const int64_t slot = args.integers.as<int32_t>()[row * kIntegerColumns + kHistorySlot], biases = args.bias_tokens.dims[1], tops = args.top_tokens.dims[1];
  const int32_t* state = args.history_state.as<int32_t>() + slot * kHistoryStateColumns;
  return {args.logits.row<float>(row),
          args.logits.dims[1],
          args.controls.as<float>() + row * kControlColumns,
          args.integers.as<int32_t>() + row * kIntegerColumns,
          args.history.as<int32_t>() + slot * args.history.dims[1],
          state[kPromptLength],
          state[kTotalLength],
          args.bias_tokens.as<int32_t>() + row * biases,
          args.bias_values.as<float>() + row * biases,
          biases,
          args.token.as<int32_t>() + row,
          args.logprob.as<float>() + row,
          args.top_tokens.as<int32_t>() + row * tops,
          args.top_logprobs.as<float>() + row * tops,
          tops};
}

}  // namespace

size_t sample_cpu_workspace(const SampleArgs& args, int threads) {
  return SampleScratch::place(nullptr, args.logits.dims[1], nullptr) * static_cast<size_t>(threads);
}

Status sample_cpu(const SampleArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_sample(args));
  const int64_t rows = args.logits.dims[0], tops = args.top_tokens.dims[1];
  const int32_t* positions = args.positions.as<int32_t>();
  for (int64_t row = 0; row < rows; row++)
    if (positions[row] >= 0) HEDDLE_TRY(check_row(args, row));
  const size_t scratch_bytes = SampleScratch::place(nullptr, args.logits.dims[1], nullptr);
  HEDDLE_CHECK(context.workspace_bytes >= scratch_bytes * static_cast<size_t>(context.threads()), "sample",
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected " + std::to_string(scratch_bytes) + " per thread");

  const auto kernel = HEDDLE_DISPATCH(sample_row);
  std::atomic<int64_t> bad{rows};  // the first row whose history names an unknown token
  context.parallel(rows, [&](int64_t row, int worker) {
    if (positions[row] < 0) {
      args.token.as<int32_t>()[row] = -1;
      args.logprob.as<float>()[row] = 0;
      std::fill_n(args.top_tokens.as<int32_t>() + row * tops, tops, -1);
      std::fill_n(args.top_logprobs.as<float>() + row * tops, tops, 0.0f);
      return;
    }
    SampleScratch scratch;
    SampleScratch::place(context.workspace + scratch_bytes * static_cast<size_t>(worker), args.logits.dims[1], &scratch);
    if (kernel(row_of(args, row), scratch)) return;
    int64_t seen = bad.load();
    while (row < seen && !bad.compare_exchange_weak(seen, row)) {
    }
  });
  if (bad.load() < rows)
    return refuse(bad.load(), "its history holds a token outside the vocabulary of " + std::to_string(args.logits.dims[1]));
  return Status::success();
}

}  // namespace heddle
#endif
