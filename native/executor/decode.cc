// Bytes to ProgramSpec. Every read is bounded; every count is checked against what is left before memory is reserved.
#include <cstring>

#include "executor/program_spec.h"

namespace heddle {

namespace {

constexpr uint32_t kMagic = 0x31444c48;  // "HLD1"

class Reader {
 public:
  Reader(const uint8_t* bytes, size_t size) : at_(bytes), end_(bytes + size) {}

  template <class T>
  T take() {
    T value{};
    if (left() < sizeof(T)) {
      failed_ = true;
      return value;
    }
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  // A count of items of at least `item_bytes` each: more than could follow is a failure, not an allocation.
  uint32_t count(size_t item_bytes) {
    const uint32_t value = take<uint32_t>();
    if (failed_ || value > left() / item_bytes) {
      failed_ = true;
      return 0;
    }
    return value;
  }

  bool failed() const { return failed_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  bool failed_ = false;
};

Status malformed(const char* what) { return fail(StatusCode::kInvalidProgram, std::string("encoded program: ") + what); }

TensorSpec read_tensor(Reader& reader) {
  TensorSpec tensor{};
  tensor.buffer = reader.take<uint32_t>();
  tensor.offset = reader.take<uint64_t>();
  tensor.dtype = static_cast<DType>(reader.take<uint8_t>());
  tensor.rank = reader.take<uint8_t>();
  for (int i = 0; i < kMaxRank; i++) {
    tensor.dims[i].extent = reader.take<int32_t>();
    tensor.dims[i].coefficient = reader.take<int64_t>();
  }
  tensor.leading_stride = reader.take<int64_t>();
  return tensor;
}
constexpr size_t kTensorBytes = 4 + 8 + 2 + kMaxRank * 12 + 8;

}  // namespace

Status decode_program(const uint8_t* bytes, size_t size, ProgramSpec* out) {
  Reader reader(bytes, size);
  ProgramSpec spec;
  if (reader.take<uint32_t>() != kMagic) return malformed("does not begin with HLD1");
  char hash[17] = {};
  for (int i = 0; i < 16; i++) hash[i] = reader.take<char>();
  if (std::strcmp(hash, op_table_hash()) != 0)
    return malformed(("made for op table " + std::string(hash) + ", this library has " + op_table_hash()).c_str());

  for (uint32_t n = reader.count(8); n > 0; n--) spec.extents.push_back(reader.take<int64_t>());
  spec.arena_bytes = reader.take<uint64_t>();
  spec.bound_buffers = reader.take<uint32_t>();
  for (uint32_t n = reader.count(kTensorBytes); n > 0; n--) spec.tensors.push_back(read_tensor(reader));
  for (uint32_t n = reader.count(4); n > 0 && !reader.failed(); n--) {
    Instruction instruction{};
    const uint16_t op = reader.take<uint16_t>();
    const uint16_t operands = reader.take<uint16_t>();
    if (op >= static_cast<uint16_t>(Op::kCount)) return malformed("unknown op");
    instruction.op = static_cast<Op>(op);
    const OpInfo& info = op_info(instruction.op);
    if (operands != info.inputs + info.outputs) return malformed("an instruction has the wrong number of operands");
    instruction.first_operand = static_cast<uint32_t>(spec.operands.size());
    instruction.operand_count = operands;
    instruction.first_attribute = static_cast<uint32_t>(spec.attributes.size());
    for (int i = 0; i < operands; i++) spec.operands.push_back(reader.take<uint32_t>());
    for (int i = 0; i < info.attributes; i++) {
      AttributeValue value;
      value.integer = reader.take<int64_t>();
      spec.attributes.push_back(value);
    }
    spec.instructions.push_back(instruction);
  }
  for (uint32_t n = reader.count(4); n > 0; n--) spec.inputs.push_back(reader.take<uint32_t>());
  for (uint32_t n = reader.count(4); n > 0; n--) spec.outputs.push_back(reader.take<uint32_t>());
  for (uint32_t n = reader.count(8); n > 0; n--) {
    const uint32_t output = reader.take<uint32_t>();
    spec.feeds.push_back({output, reader.take<uint32_t>()});
  }
  spec.while_output = reader.take<uint32_t>();
  if (reader.failed()) return malformed("ends early");
  if (reader.left() != 0) return malformed("has bytes after its end");
  *out = std::move(spec);
  return Status::success();
}

}  // namespace heddle
