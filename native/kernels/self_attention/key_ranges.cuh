// The two ranges of keys of a token, checked on the device.
#pragma once
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"

namespace heddle {

// `op` is a string literal.
#define HEDDLE_RANGE_FAILURE(context, op) \
  (context).failure("[" op "] token {0} attends keys [{1}, {2}) and [{3}, {4}): expected two ranges of {5} keys that do not meet")

struct TokenRanges {
  const int32_t* data;
  int64_t stride;  // elements between tokens
  int64_t keys;
  Failure failure;
};

struct KeyRanges {
  int begin[2], end[2];
};

// Both empty, and reported, when they leave the keys or meet.
__device__ inline KeyRanges read_ranges(const TokenRanges& ranges, int64_t token) {
  const int32_t* at = ranges.data + token * ranges.stride;
  const int32_t a = at[0], b = at[1], c = at[2], d = at[3];
  const bool inside = a >= 0 && a <= b && b <= ranges.keys && c >= 0 && c <= d && d <= ranges.keys;
  const bool apart = a == b || c == d || b <= c || d <= a;
  if (!inside || !apart) {
    ranges.failure.report(token, a, b, c, d, ranges.keys);
    return {{0, 0}, {0, 0}};
  }
  return {{a, c}, {b, d}};
}

}  // namespace heddle
