// Columns of the per-request tables of sample and advance. lib/engine/sampling_layout.ts writes the same.
//
// Order of sample, per row r (a row with positions[r] < 0 gives token -1, logprob 0):
//   1. logprob and top_logprobs are taken from the model's own logits, before anything below.
//   2. bias_values[r, i] is added to logit bias_tokens[r, i] (token -1: unused entry).
//   3. repetition: for every token in history (prompt and generated), logit > 0 ? logit / p : logit * p.
//      frequency f and presence q: for every token generated c > 0 times, logit -= f * c + q.
//   4. temperature 0: the first maximum. Otherwise logits / temperature, then top-k, then top-p over the renormalised
//      rest (the smallest set of most likely tokens whose probability reaches p, at least one), then min-p (tokens with
//      less than min_p times the best probability leave), then one draw. Ties in order are broken by lower token id.
//   The uniform number of a draw is Philox4x32-10 with key (seed_low, seed_high) and counter (history length, 0, 0, 0):
//   a request's tokens depend on its seed and its own text alone. A NaN logit counts as -inf; when no token is
//   finite the result is token 0.
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
