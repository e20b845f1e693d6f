#include <cstring>

#include "core/float16.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/embedding_ops.h"
#include "kernels/embedding/embedding_checks.h"

#define HEDDLE_TARGET_FILE "kernels/embedding/embedding_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {
namespace {

void widen_f16(const uint16_t* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load_f16(x + i));
  for (; i < count; i++) y[i] = f16_to_f32(x[i]);
}

void widen_bf16(const uint16_t* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load_bf16(x + i));
  for (; i < count; i++) y[i] = bf16_to_f32(x[i]);
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kGrain = 8192;  // elements per chunk

// Element k of row n of packed panels lies at panel * inner * 16 + k * 16 + n % 16; in bf16 panels two k lie side by side.
void unpack_row(const TensorView& weight, int64_t id, float* y, int64_t width) {
  const int64_t panel = id / kPanelRows, lane = id % kPanelRows, panel_elements = weight.dims[1] * weight.dims[2];
  if (weight.dtype == DType::kF32) {
    const float* source = weight.as<float>() + panel * panel_elements + lane;
    for (int64_t k = 0; k < width; k++) y[k] = source[k * kPanelRows];
  } else if (weight.dtype == DType::kF16) {
    const uint16_t* source = weight.as<uint16_t>() + panel * panel_elements + lane;
    for (int64_t k = 0; k < width; k++) y[k] = f16_to_f32(source[k * kPanelRows]);
  } else {
    const uint16_t* source = weight.as<uint16_t>() + panel * panel_elements + 2 * lane;
    for (int64_t k = 0; k < width; k++) y[k] = bf16_to_f32(source[(k >> 1) * 2 * kPanelRows + (k & 1)]);
  }
}

Status check_indexes(const char* op, const char* name, const TensorView& ids, int64_t limit) {
  const int32_t* values = ids.as<int32_t>();
  for (int64_t i = 0; i < ids.dims[0]; i++)
    if (values[i] >= limit)
      return fail(StatusCode::kInvalidArgument, std::string("[") + op + "] " + name + "[" + std::to_string(i) + "] is " + std::to_string(values[i]) +
                                                    ": expected less than " + std::to_string(limit));
  return Status::success();
}

}  // namespace

Status embedding_cpu(const EmbeddingArgs& args, CpuContext& context) {
  const TensorView &ids = args.ids, &weight = args.weight, &y = args.y;
  HEDDLE_TRY(check_embedding(args));
  HEDDLE_TRY(check_indexes("embedding", "ids", ids, args.vocabulary));
  HEDDLE_TRY(compact_weight_check("embedding", weight, y.dims[1]));
  const auto widen = weight.dtype == DType::kF16 ? HEDDLE_DISPATCH(widen_f16) : HEDDLE_DISPATCH(widen_bf16);
  const int64_t width = y.dims[1];
  parallel_rows(context, ids.dims[0], width, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t t = first; t < end; t++) {
      const int32_t id = ids.as<int32_t>()[t];
      float* out = y.row<float>(t);
      if (id < 0) {
        std::memset(out, 0, sizeof(float) * static_cast<size_t>(width));
      } else if (may_be_compact(weight)) {
        PanelRows{weight.as<const std::byte>(), width}.row(id / kPanelRows, id % kPanelRows, out);
      } else if (weight.rank == 3) {
        unpack_row(weight, id, out, width);
      } else if (weight.dtype == DType::kF32) {
        std::memcpy(out, weight.row<float>(id), sizeof(float) * static_cast<size_t>(width));
      } else {
        widen(weight.row<uint16_t>(id), out, width);
      }
    }
  });
  return Status::success();
}

Status gather_rows_cpu(const GatherRowsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &rows = args.rows, &y = args.y;
  HEDDLE_TRY(check_gather_rows(args));
  HEDDLE_TRY(check_indexes("gather_rows", "rows", rows, x.dims[0]));
  const int64_t element = static_cast<int64_t>(dtype_bytes(x.dtype)), bytes = x.inner_elements() * element;
  const int64_t x_stride = (x.rank == 1 ? 1 : x.leading_stride) * element, y_stride = (y.rank == 1 ? 1 : y.leading_stride) * element;
  parallel_rows(context, rows.dims[0], bytes, 65536, [&](int64_t first, int64_t end) {
    for (int64_t r = first; r < end; r++) {
      const int64_t source = rows.as<int32_t>()[r];
      char* out = y.as<char>() + r * y_stride;
      if (source < 0) {
        std::memset(out, 0, static_cast<size_t>(bytes));
      } else {
        std::memcpy(out, x.as<char>() + source * x_stride, static_cast<size_t>(bytes));
      }
    }
  });
  return Status::success();
}

}  // namespace heddle
#endif
