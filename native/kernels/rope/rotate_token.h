// The rotation of rope for one token, for kernels that rotate on the way: the same bits as rope's own.
#pragma once
#include <cstdint>

namespace heddle {

// y[h] = x[h] rotated for all heads; `table` is the token's row: cosines, then sines of rotary / 2 pairs each. x and y may be the same.
void rope_rotate_token(const float* table, int64_t rotary, bool interleaved, const float* x, int64_t heads, int64_t width, float* y);

}  // namespace heddle
