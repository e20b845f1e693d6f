#include <cstring>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "generated/layout_ops.h"

namespace heddle {

Status concat_columns_cpu(const ConcatColumnsArgs& args, CpuContext& context) {
  const TensorView& y = args.y;
  HEDDLE_CHECK(y.rank == 2 && y.dtype == DType::kF32, "concat_columns", "y is " + describe(y) + ": expected f32 [rows, columns]");
  int64_t columns = 0;
  for (const TensorView* part : {&args.a, &args.b, &args.c, &args.d}) {
    if (!part->present()) continue;
    HEDDLE_CHECK(part->rank == 2 && part->dtype == DType::kF32 && part->dims[0] == y.dims[0], "concat_columns",
                 "a part is " + describe(*part) + " but y is " + describe(y) + ": expected f32 [rows, columns] with as many rows");
    columns += part->dims[1];
  }
  HEDDLE_CHECK(columns == y.dims[1], "concat_columns",
               "the parts have " + std::to_string(columns) + " columns but y is " + describe(y));
  parallel_rows(context, y.dims[0], columns, 16384, [&](int64_t first, int64_t end) {
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
