// Row-major weights into the panels that linear reads: 16 outputs side by side, k (bf16: pairs of k) going down.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace heddle {

inline constexpr int64_t kLinearPanel = 16;

constexpr int64_t linear_panels(int64_t outputs) { return (outputs + kLinearPanel - 1) / kLinearPanel; }
constexpr int64_t linear_inner(int64_t k) { return k + (k & 1); }

// Bytes of a packed [outputs, k] weight of f32, f16 or bf16; the packed elements have the dtype of the source.
size_t linear_packed_bytes(DType dtype, int64_t outputs, int64_t k);

// Bytes of one panel.
constexpr int64_t linear_panel_bytes(DType dtype, int64_t k) { return linear_inner(k) * kLinearPanel * static_cast<int64_t>(dtype_bytes(dtype)); }

// Packs `rows` outputs of one matrix as outputs first_output, first_output + 1, ... of `destination` (the first panel; the next
// ones lie panel_step bytes apart), so that several matrices can lie one after the other whatever their row counts. The source
// is [rows, k] with source_stride elements between rows, or [k, rows] when transposed; it may be unaligned. An odd k is filled
// up with a zero; calls that write different outputs may run at the same time. The outputs up to the end of the last panel are
// zeros that somebody else stores.
void linear_pack_rows(DType dtype, const void* source, int64_t rows, int64_t k, bool transposed, int64_t source_stride,
                      int64_t first_output, void* destination, int64_t panel_step);

}  // namespace heddle
