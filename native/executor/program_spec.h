// The encoded program as plain data: instructions over tensors that lie in one arena or in bound buffers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/status.h"
#include "core/tensor_view.h"
#include "executor/op_info.h"

namespace heddle {

inline constexpr uint32_t kNoTensor = 0xffffffffu;
inline constexpr uint32_t kArena = 0;  // buffer 0 is the arena; buffer i is bound buffer i - 1

// coefficient * (extent < 0 ? 1 : value of that extent)
struct DimensionSpec {
  int32_t extent;
  int64_t coefficient;
};

struct TensorSpec {
  uint32_t buffer;
  uint64_t offset;  // bytes
  DType dtype;
  uint8_t rank;
  DimensionSpec dims[kMaxRank];
  int64_t leading_stride;  // elements; 0: dense
};

struct Instruction {
  Op op;
  uint32_t first_operand;
  uint32_t operand_count;
  uint32_t first_attribute;
};

// After a step of a burst, `output` (an index of outputs) becomes `input` (an index of inputs) of the next.
struct Feed {
  uint32_t output;
  uint32_t input;
};

struct ProgramSpec {
  std::vector<int64_t> extents;  // the largest value of each
  uint64_t arena_bytes = 0;
  uint32_t bound_buffers = 0;
  std::vector<TensorSpec> tensors;
  std::vector<Instruction> instructions;
  std::vector<uint32_t> operands;  // tensor numbers, kNoTensor for an absent optional one
  std::vector<AttributeValue> attributes;
  std::vector<uint32_t> inputs;
  std::vector<uint32_t> outputs;
  std::vector<Feed> feeds;
  uint32_t while_output = kNoTensor;  // index of an i32 output: a burst ends when its first element is 0
};

// Reads the encoding of lib/plan/encode.ts. Refuses anything malformed or made for another op table.
Status decode_program(const uint8_t* bytes, size_t size, ProgramSpec* out);

// Refuses a program that could touch memory outside its arena and bound buffers at any allowed extents.
Status verify_program(const ProgramSpec& spec, const std::vector<uint64_t>& bound_bytes);

// A tensor at the given extents; `base` is the start of its buffer, nullptr: only its dimensions count.
TensorView resolve_tensor(const TensorSpec& spec, const std::vector<int64_t>& extents, std::byte* base);

}  // namespace heddle
