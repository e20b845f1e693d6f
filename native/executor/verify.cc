// Proves that no operand can leave its buffer at any allowed extents. Agreement between operands is each kernel's own check.
#include <string>

#include "executor/program_spec.h"

namespace heddle {

namespace {

constexpr int64_t kMaxElements = int64_t{1} << 46;

Status refuse(const std::string& what) { return fail(StatusCode::kInvalidProgram, "program: " + what); }

Status verify_tensor(const ProgramSpec& spec, const std::vector<uint64_t>& buffer_bytes, size_t index) {
  const TensorSpec& tensor = spec.tensors[index];
  const std::string name = "tensor " + std::to_string(index);
  if (static_cast<int>(tensor.dtype) >= kDTypeCount) return refuse(name + " has an unknown dtype");
  if (tensor.rank > kMaxRank) return refuse(name + " has rank " + std::to_string(tensor.rank) + ", at most 4 is allowed");
  if (tensor.buffer >= buffer_bytes.size()) return refuse(name + " names buffer " + std::to_string(tensor.buffer));
  int64_t inner = 1, leading = 1;
  for (int i = 0; i < tensor.rank; i++) {
    const DimensionSpec& dim = tensor.dims[i];
    if (dim.extent >= static_cast<int64_t>(spec.extents.size()) || dim.coefficient < 0 || dim.coefficient > kMaxElements)
      return refuse(name + " has a bad dimension");
    int64_t size = dim.coefficient;
    if (dim.extent >= 0 && __builtin_mul_overflow(size, spec.extents[dim.extent], &size)) return refuse(name + " is too large");
    if (i == 0) {
      leading = size;
    } else if (__builtin_mul_overflow(inner, size, &inner)) {
      return refuse(name + " is too large");
    }
  }
  if (leading > kMaxElements || inner > kMaxElements) return refuse(name + " is too large");
  if (tensor.leading_stride < 0 || tensor.leading_stride > kMaxElements) return refuse(name + " has a bad stride");
  // Rows of a strided tensor may not overlap: a kernel may write them in parallel.
  if (tensor.leading_stride != 0 && tensor.leading_stride < inner) return refuse(name + " has overlapping rows");
  const int64_t stride = tensor.leading_stride != 0 ? tensor.leading_stride : inner;
  int64_t elements = 0;
  if (leading > 0 && inner > 0) {
    if (__builtin_mul_overflow(leading - 1, stride, &elements) || __builtin_add_overflow(elements, inner, &elements) || elements > kMaxElements)
      return refuse(name + " is too large");
  }
  const uint64_t width = dtype_bytes(tensor.dtype);
  if (tensor.offset % width != 0) return refuse(name + " is misaligned");
  const uint64_t size = buffer_bytes[tensor.buffer], bytes = static_cast<uint64_t>(elements) * width;
  if (tensor.offset > size || bytes > size - tensor.offset)
    return refuse(name + " ends at byte " + std::to_string(tensor.offset + bytes) + " of a buffer of " + std::to_string(size));
  return Status::success();
}

}  // namespace

Status verify_program(const ProgramSpec& spec, const std::vector<uint64_t>& bound_bytes) {
  if (spec.bound_buffers != bound_bytes.size())
    return refuse("wants " + std::to_string(spec.bound_buffers) + " bound buffers, got " + std::to_string(bound_bytes.size()));
  for (int64_t extent : spec.extents)
    if (extent < 0 || extent > kMaxElements) return refuse("an extent is out of range");
  std::vector<uint64_t> buffer_bytes = {spec.arena_bytes};
  buffer_bytes.insert(buffer_bytes.end(), bound_bytes.begin(), bound_bytes.end());
  for (size_t i = 0; i < spec.tensors.size(); i++) HEDDLE_TRY(verify_tensor(spec, buffer_bytes, i));

  const auto known = [&](uint32_t tensor) { return tensor < spec.tensors.size(); };
  for (const Instruction& instruction : spec.instructions) {
    const OpInfo& info = op_info(instruction.op);
    for (uint32_t i = 0; i < instruction.operand_count; i++) {
      const uint32_t tensor = spec.operands[instruction.first_operand + i];
      const bool optional = i < info.inputs && ((info.optional_inputs >> i) & 1u) != 0;
      if (tensor == kNoTensor ? !optional : !known(tensor)) return refuse(std::string(info.name) + " has a bad operand");
    }
  }
  for (const auto* list : {&spec.inputs, &spec.outputs})
    for (uint32_t tensor : *list) {
      if (!known(tensor)) return refuse("an input or output names no tensor");
      if (spec.tensors[tensor].buffer != kArena || spec.tensors[tensor].leading_stride != 0) return refuse("inputs and outputs are dense and in the arena");
    }
  for (const Feed& feed : spec.feeds) {
    if (feed.output >= spec.outputs.size() || feed.input >= spec.inputs.size()) return refuse("a feed names no output or input");
    const TensorSpec &from = spec.tensors[spec.outputs[feed.output]], &to = spec.tensors[spec.inputs[feed.input]];
    if (from.dtype != to.dtype) return refuse("a feed changes the dtype");
  }
  if (spec.while_output != kNoTensor) {
    if (spec.while_output >= spec.outputs.size()) return refuse("the while output does not exist");
    const TensorSpec& tensor = spec.tensors[spec.outputs[spec.while_output]];
    if (tensor.dtype != DType::kI32 || tensor.rank != 1 || tensor.dims[0].extent >= 0 || tensor.dims[0].coefficient < 1)
      return refuse("the while output must be i32 [n], n >= 1");
  }
  return Status::success();
}

}  // namespace heddle
