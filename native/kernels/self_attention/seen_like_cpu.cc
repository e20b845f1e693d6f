// seen_like: what self_attention sees, as a matrix for graphs that spell attention out.
#include <algorithm>

#include "cpu/cpu_context.h"
#include "generated/self_attention_ops.h"
#include "kernels/self_attention/self_attention_checks.h"

namespace heddle {

namespace {
constexpr const char* kOp = "seen_like";
constexpr int64_t kRowsPerChunk = 16;
}  // namespace

Status seen_like_cpu(const SeenLikeArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_seen_like(args));
  const TensorView& y = args.y;
  const TensorView& ranges = args.ranges;
  const int64_t tokens = ranges.dims[0], rows = y.dims[0] * y.dims[1], keys = y.dims[2];
  HEDDLE_TRY(check_key_ranges(kOp, ranges, keys));
  context.parallel((rows + kRowsPerChunk - 1) / kRowsPerChunk, [&](int64_t chunk, int) {
    for (int64_t row = chunk * kRowsPerChunk; row < std::min(rows, (chunk + 1) * kRowsPerChunk); row++) {
      const int32_t* range = ranges.row<const int32_t>(row % y.dims[1] % tokens);
      float* to = y.as<float>() + row * keys;
      std::fill_n(to, keys, 0.0f);
      for (int part = 0; part < 4; part += 2) std::fill(to + range[part], to + range[part + 1], 1.0f);
    }
  });
  return Status::success();
}

}  // namespace heddle
