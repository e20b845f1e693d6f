#include "executor/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

namespace heddle {

namespace {

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t view_bytes(const TensorView& view) { return static_cast<uint64_t>(view.elements()) * dtype_bytes(view.dtype); }

}  // namespace

TensorView resolve_tensor(const TensorSpec& spec, const std::vector<int64_t>& extents, std::byte* base) {
  TensorView view;
  view.data = base == nullptr ? nullptr : base + spec.offset;
  view.dtype = spec.dtype;
  view.rank = spec.rank;
  for (int i = 0; i < spec.rank; i++) view.dims[i] = spec.dims[i].coefficient * (spec.dims[i].extent < 0 ? 1 : extents[spec.dims[i].extent]);
  view.leading_stride = spec.leading_stride != 0 ? spec.leading_stride : view.inner_elements();
  return view;
}

Status Program::create(ProgramSpec spec, std::vector<std::shared_ptr<MemoryBlock>> bound, std::shared_ptr<Device> device, int threads,
                       std::unique_ptr<Program>* out) {
  std::vector<uint64_t> bound_bytes;
  const std::shared_ptr<DeviceMemory> memory = device->memory();
  for (const auto& block : bound) {
    if (block->device() != memory.get())
      return fail(StatusCode::kInvalidArgument, std::string("program: a bound buffer does not lie in the memory of ") + device->name());
    bound_bytes.push_back(block->bytes());
  }
  HEDDLE_TRY(verify_program(spec, bound_bytes));
  for (const Instruction& instruction : spec.instructions)
    if (!device->has_kernel(instruction.op))
      return fail(StatusCode::kInvalidProgram, std::string("program: ") + op_info(instruction.op).name + " has no kernel for " + device->name());
  std::unique_ptr<Program> program(new Program());
  program->spec_ = std::move(spec);
  program->bound_ = std::move(bound);
  program->device_ = std::move(device);
  program->cache_ = program->device_->make_step_cache();
  program->views_.resize(program->spec_.tensors.size());
  program->operands_.resize(program->spec_.operands.size());
  program->times_.resize(static_cast<size_t>(Op::kCount));
  program->extents_ = {-1};  // no extents: nothing is resolved yet
  HEDDLE_TRY(MemoryBlock::allocate(program->spec_.arena_bytes, memory, &program->arena_));
  HEDDLE_TRY(program->size_workspace(threads));
  *out = std::move(program);
  return Status::success();
}

Status Program::size_workspace(int threads) {
  uint64_t largest = 0;
  std::vector<TensorView> operands;
  for (const Instruction& instruction : spec_.instructions) {
    operands.clear();
    for (uint32_t i = 0; i < instruction.operand_count; i++) {
      const uint32_t tensor = spec_.operands[instruction.first_operand + i];
      operands.push_back(tensor == kNoTensor ? TensorView{} : resolve_tensor(spec_.tensors[tensor], spec_.extents, nullptr));
    }
    const AttributeValue* attributes = spec_.attributes.data() + instruction.first_attribute;
    largest = std::max(largest, device_->workspace_bytes(instruction.op, operands.data(), attributes, threads));
  }
  workspace_threads_ = threads;
  if (workspace_ && workspace_->bytes() == largest) return Status::success();
  cache_ = device_->make_step_cache();  // what it had captured names the old workspace
  workspace_.reset();
  HEDDLE_TRY(MemoryBlock::allocate(largest, device_->memory(), &workspace_));
  return Status::success();
}

void Program::resolve(const std::vector<int64_t>& extents) {
  if (resolved_ && extents == extents_) return;
  for (size_t i = 0; i < views_.size(); i++) {
    const TensorSpec& tensor = spec_.tensors[i];
    views_[i] = resolve_tensor(tensor, extents, tensor.buffer == kArena ? arena_->data() : bound_[tensor.buffer - 1]->data());
  }
  for (size_t i = 0; i < operands_.size(); i++) operands_[i] = spec_.operands[i] == kNoTensor ? TensorView{} : views_[spec_.operands[i]];
  extents_ = extents;
  resolved_ = true;
}

Status Program::step(ThreadPool& pool, RunControl* control, RunResult* result, int32_t* condition) {
  const Step step{spec_, operands_.data(), extents_, workspace_->data(), workspace_->bytes(), control, profiling_ ? &times_ : nullptr};
  HEDDLE_TRY(device_->run(step, cache_.get(), pool));
  size_t at = result->data.size(), end = at;
  for (uint32_t output : spec_.outputs) end += view_bytes(views_[output]);
  result->data.resize(end);
  transfers_.clear();
  std::byte* while_value = nullptr;
  for (uint32_t i = 0; i < spec_.outputs.size(); i++) {
    const TensorView& view = views_[spec_.outputs[i]];
    if (i == spec_.while_output) while_value = result->data.data() + at;
    transfers_.push_back({view.as<std::byte>(), result->data.data() + at, view_bytes(view)});
    at += view_bytes(view);
  }
  HEDDLE_TRY(device_->read_outputs(transfers_));
  if (while_value != nullptr) std::memcpy(condition, while_value, sizeof *condition);
  result->steps++;
  return Status::success();
}

// Views for the request's extents, and its inputs in their place.
Status Program::bind(const RunRequest& request, ThreadPool& pool) {
  if (request.extents.size() != spec_.extents.size() || request.inputs.size() != spec_.inputs.size())
    return fail(StatusCode::kInvalidArgument, "run: wrong number of extents or inputs");
  for (size_t i = 0; i < spec_.extents.size(); i++)
    if (request.extents[i] < 0 || request.extents[i] > spec_.extents[i])
      return fail(StatusCode::kInvalidArgument, "run: extent " + std::to_string(i) + " is " + std::to_string(request.extents[i]) +
                                                    ": expected 0 to " + std::to_string(spec_.extents[i]));
  if (pool.threads() != workspace_threads_) HEDDLE_TRY(size_workspace(pool.threads()));
  resolve(request.extents);
  transfers_.clear();
  for (size_t i = 0; i < request.inputs.size(); i++) {
    const TensorView& view = views_[spec_.inputs[i]];
    const auto& [data, bytes] = request.inputs[i];
    if (bytes != view_bytes(view))
      return fail(StatusCode::kInvalidArgument, "run: input " + std::to_string(i) + " has " + std::to_string(bytes) + " bytes: expected " +
                                                    std::to_string(view_bytes(view)));
    transfers_.push_back({view.as<std::byte>(), const_cast<std::byte*>(data), bytes});
  }
  for (const Feed& feed : spec_.feeds)
    if (request.steps > 1 && view_bytes(views_[spec_.outputs[feed.output]]) != view_bytes(views_[spec_.inputs[feed.input]]))
      return fail(StatusCode::kInvalidArgument, "run: a fed output and its input differ in size at these extents");
  return device_->write_inputs(transfers_);
}

Status Program::run(const RunRequest& request, ThreadPool& pool, RunResult* result) {
  HEDDLE_TRY(bind(request, pool));
  std::vector<uint64_t> output_bytes;
  for (uint32_t output : spec_.outputs) output_bytes.push_back(view_bytes(views_[output]));
  const bool conditional = spec_.while_output != kNoTensor;
  int32_t condition = 0;
  int64_t begin = now_nanoseconds();
  for (int64_t done = 0;;) {
    const int32_t before = condition;
    HEDDLE_TRY(step(pool, request.control, result, &condition));
    if (++done == request.steps) break;
    if (conditional && condition == 0) break;
    if (request.control != nullptr && request.control->interrupt.load(std::memory_order_relaxed)) break;
    if (request.wanted_elsewhere && request.wanted_elsewhere()) break;
    for (const Feed& feed : spec_.feeds) {
      const TensorView &from = views_[spec_.outputs[feed.output]], &into = views_[spec_.inputs[feed.input]];
      HEDDLE_TRY(device_->copy(into.as<std::byte>(), from.as<std::byte>(), view_bytes(from)));
    }
    if (!request.take_part) continue;
    const int64_t now = now_nanoseconds();
    const bool changed = conditional && done > 1 && condition != before;
    if (!changed && now - begin < request.part_nanoseconds) continue;
    result->output_bytes = output_bytes;
    result->kernel_nanoseconds = now - begin;
    begin = now;
    request.take_part(std::move(*result));
    *result = RunResult();
  }
  result->output_bytes = std::move(output_bytes);
  result->kernel_nanoseconds = now_nanoseconds() - begin;
  return Status::success();
}

std::vector<Program::OpTime> Program::profile() const {
  std::vector<OpTime> list;
  for (size_t i = 0; i < times_.size(); i++)
    if (times_[i].first > 0) list.push_back({op_info(static_cast<Op>(i)).name, times_[i].first, times_[i].second});
  std::sort(list.begin(), list.end(), [](const OpTime& a, const OpTime& b) { return a.nanoseconds > b.nanoseconds; });
  return list;
}

}  // namespace heddle
