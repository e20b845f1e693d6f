// What the executor knows of an op: its arity and its CPU functions. The table itself is generated.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"
#include "generated/op_table.h"

namespace heddle {

union AttributeValue {
  int64_t integer;
  double real;
};

struct OpInfo {
  const char* name;
  uint8_t inputs;
  uint8_t outputs;
  uint8_t attributes;
  uint32_t optional_inputs;  // bit i: input i may be absent
  uint32_t aliased_outputs;  // bit i: output i lies in place over an input
  Status (*run)(const TensorView* operands, const AttributeValue* attrs, CpuContext& context);
  size_t (*workspace)(const TensorView* operands, const AttributeValue* attrs, int threads);  // nullptr: needs none
};

const OpInfo& op_info(Op op);
const char* op_table_hash();

}  // namespace heddle
