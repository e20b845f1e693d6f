#include <cstring>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "generated/layout_ops.h"
#include "kernels/layout/layout_checks.h"

namespace heddle {

Status concat_columns_cpu(const ConcatColumnsArgs& args, CpuContext& context) {
  const TensorView& y = args.y;
  HEDDLE_TRY(check_concat_columns(args));
  parallel_rows(context, y.dims[0], y.dims[1], 16384, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      float* to = y.row<float>(row);
      for (const TensorView* part : {&args.a, &args.b, &args.c, &args.d}) {
        if (!part->present()) continue;
        std::memcpy(to, part->row<float>(row), static_cast<size_t>(part->dims[1]) * sizeof(float));
        to += part->dims[1];
      }
    }
  });
  return Status::success();
}

}  // namespace heddle
