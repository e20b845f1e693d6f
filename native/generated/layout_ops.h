// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;

// y[r] = a[r] | b[r] | c[r] | d[r] side by side; f32 [rows, columns] each, rows may be strided
struct ConcatColumnsArgs {
  TensorView a;
  TensorView b;  // optional
  TensorView c;  // optional
  TensorView d;  // optional
  TensorView y;  // output
};
Status concat_columns_cpu(const ConcatColumnsArgs& args, CpuContext& context);

}  // namespace heddle
#pragma GCC visibility pop
