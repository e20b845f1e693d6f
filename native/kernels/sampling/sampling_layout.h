// Columns of the per-request tables of sample and advance. lib/engine/sampling_layout.ts writes the same.
//
// sample, per row r. A row with positions[r] < 0 gives token -1, logprob 0 and no top tokens (-1, 0).
//   1. logprob and top_logprobs are log_softmax of the model's own logits, before anything below. Row r fills its first
//      kTopLogprobs entries (most likely first), the rest is -1 / 0.
//   2. bias_values[r, i] is added to logit bias_tokens[r, i], in order of i (a negative token: unused entry).
//   3. repetition p: for every distinct token in history (prompt and generated), logit > 0 ? logit / p : logit * p.
//      frequency f and presence q: for every token generated c > 0 times, logit -= f * c + q. All in f32.
//   4. temperature not above 0: the first maximum. Otherwise logits / temperature, then
//      top-k (off when k <= 0): the k most likely tokens;
//      top-p (off when p >= 1): of what is left, the smallest set of most likely tokens whose share of the probability
//      reaches p, at least one; min-p (off when <= 0): tokens with less than min_p times the best probability leave, never
//      the best. Ties in order are broken by lower token id. Then one draw: with u uniform in [0, 1) the token is the first,
//      in order of id, at which the running sum of the kept probabilities exceeds u times their sum.
//   u is the upper 53 bits of the first two words (first word high) of Philox4x32-10 with key (seed_low, seed_high) and
//   counter (history length, 0, 0, 0): a request's tokens depend on its seed and its own text alone.
//   A NaN logit counts as -infinity and +infinity as the largest finite number, before step 1 and after step 3. When no
//   logit is above -infinity the token is 0. A token that counts as -infinity has logprob -infinity.
//
// advance, per row r. A row with positions[r] < 0 has ended before: next_token -1, next_position -1, state 0, not counted.
//   Otherwise token[r] is appended to the row's history; state is 1 when it is one of stop_tokens[r] (-1: unused entry),
//   else 2 when the history has reached kMaxLength tokens, else 0; next_token is token[r] and next_position
//   positions[r] + 1 while the state is 0, both -1 when it is not. running[0] counts the rows whose state is 0.
#pragma once
#include <cstdint>

namespace heddle {

// controls f32 [rows, 8]
enum SampleControl { kTemperature, kTopP, kMinP, kRepetition, kFrequency, kPresence, kControlReserved0, kControlReserved1, kControlColumns };

// integers i32 [rows, 8]; kMaxLength: the request ends with state 2 when its history reaches this many tokens
enum SampleInteger { kTopK, kSeedLow, kSeedHigh, kTopLogprobs, kHistorySlot, kMaxLength, kIntegerReserved0, kIntegerReserved1, kIntegerColumns };

// history i32 [slots, capacity]; history_state i32 [slots, 2]
enum HistoryState { kPromptLength, kTotalLength, kHistoryStateColumns };

// advance: state
enum RequestState { kRunning = 0, kStopped = 1, kLengthReached = 2 };

}  // namespace heddle
