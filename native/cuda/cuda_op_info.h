// What the CUDA library knows of an op: its function, and how much scratch memory that needs. The table itself is generated.
#pragma once
#include <cstddef>

#include "core/status.h"
#include "core/tensor_view.h"
#include "executor/op_info.h"

namespace heddle {

struct CudaContext;
struct DeviceLimits;

struct CudaOpInfo {
  const char* name;
  Status (*run)(const TensorView* operands, const AttributeValue* attrs, CudaContext& context);  // nullptr: has no CUDA kernel
  size_t (*workspace)(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits);  // nullptr: needs none
};

const CudaOpInfo& cuda_op_info(Op op);
const char* cuda_op_table_hash();

}  // namespace heddle
