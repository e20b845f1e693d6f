#include "addon/packing.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "addon/arguments.h"
#include "addon/buffer_object.h"
#include "addon/environment.h"
#include "addon/safetensors_object.h"
#include "core/float16.h"
#include "core/mapped_file.h"
#include "kernels/grouped_lora/compact_rows.h"
#include "kernels/linear/compact_weight.h"
#include "kernels/linear/linear_pack.h"
#include "kernels/linear/linear_row_major.h"

namespace heddle {
namespace {

// Bytes that one worker reads at a time: stays in its cache between reading and packing.
constexpr uint64_t kPieceBytes = 512 << 10;
// The same for copies that one thread makes.
constexpr uint64_t kCopyBytes = 8 << 20;

// Where elements come from: a file, read by copying so that a file cut short is an error and not a signal, or host memory.
struct ElementSource {
  std::shared_ptr<const MappedFile> file;
  std::vector<std::byte> host;
  uint64_t begin = 0;

  Status read(uint64_t offset, uint64_t bytes, void* to) const {
    if (file) return file->read(begin + offset, bytes, to);
    if (begin + offset > host.size() || bytes > host.size() - begin - offset) return fail(StatusCode::kInvalidArgument, "reads beyond the host array");
    std::memcpy(to, host.data() + begin + offset, bytes);
    return Status::success();
  }
};

std::shared_ptr<ElementSource> source_argument(const Napi::CallbackInfo& info, size_t index) {
  auto source = std::make_shared<ElementSource>();
  const Bytes bytes = bytes_of(info[index]);
  if (bytes.size != UINT64_MAX) {
    source->host.assign(bytes.data, bytes.data + bytes.size);
  } else {
    source->file = SafetensorsObject::unwrap(info.Env(), info[index]).file(info.Env());
  }
  source->begin = static_cast<uint64_t>(integer_argument(info, index + 1));
  return source;
}

DType dtype_of(Napi::Env env, int64_t code) {
  if (code < 0 || code >= kDTypeCount) throw Napi::TypeError::New(env, "unknown dtype " + std::to_string(code));
  return static_cast<DType>(code);
}

Napi::Value packed_bytes(const Napi::CallbackInfo& info) {
  const DType dtype = dtype_of(info.Env(), integer_argument(info, 0));
  return Napi::Number::New(info.Env(), static_cast<double>(linear_packed_bytes(dtype, integer_argument(info, 1), integer_argument(info, 2))));
}

struct PackJob {
  std::shared_ptr<ElementSource> source;
  std::shared_ptr<MemoryBlock> target;
  DType dtype;
  int64_t rows, inputs, first_output;
  bool transposed, may_be_compact;

  // Lays `count` outputs from `from` on out as their device wants them, and stores them. `staging` is the worker's own.
  Status store(const std::byte* rows_at, int64_t count, int64_t stride, int64_t from, std::vector<std::byte>& staging) const {
    if (target->device() == nullptr) {
      std::byte* first = target->data() + (may_be_compact ? kPanelLine : 0);
      const int64_t step = may_be_compact ? compact_slot_bytes(inputs) : linear_panel_bytes(dtype, inputs);
      linear_pack_rows(dtype, rows_at, count, inputs, transposed, stride, first_output + from, first, step);
      return Status::success();
    }
    const size_t row_bytes = linear_row_bytes(dtype, inputs);
    staging.resize(static_cast<size_t>(count) * row_bytes);
    linear_row_major_rows(dtype, rows_at, count, inputs, transposed, stride, 0, staging.data());
    return target->write(static_cast<uint64_t>(first_output + from) * row_bytes, staging.data(), staging.size());
  }

  Status run(ThreadPool& pool) const {
    const uint64_t width = dtype_bytes(dtype);
    const uint64_t source_row = static_cast<uint64_t>(inputs) * width;
    std::vector<std::byte> whole;
    if (transposed) {  // the rows of a transposed source lie apart: take it whole
      whole.resize(static_cast<uint64_t>(rows) * source_row);
      HEDDLE_TRY(source->read(0, whole.size(), whole.data()));
    }
    const int64_t fitting = std::max<int64_t>(1, static_cast<int64_t>(kPieceBytes / std::max<uint64_t>(source_row, 1)));
    const int64_t piece_rows = transposed ? std::max<int64_t>(64, (rows + 255) / 256) : fitting;
    const int64_t pieces = (rows + piece_rows - 1) / piece_rows;
    struct Worker {
      std::vector<std::byte> source, staging;
      Status failure;
    };
    std::vector<Worker> workers(static_cast<size_t>(pool.threads()));
    pool.parallel(pieces, [&](int64_t piece, int number) {
      Worker& worker = workers[static_cast<size_t>(number)];
      if (!worker.failure.ok()) return;
      const int64_t from = piece * piece_rows, count = std::min(piece_rows, rows - from);
      if (transposed) {
        worker.failure = store(whole.data() + static_cast<uint64_t>(from) * width, count, rows, from, worker.staging);
        return;
      }
      worker.source.resize(source_row * static_cast<uint64_t>(count));
      worker.failure = source->read(static_cast<uint64_t>(from) * source_row, worker.source.size(), worker.source.data());
      if (worker.failure.ok()) worker.failure = store(worker.source.data(), count, inputs, from, worker.staging);
    });
    for (Worker& worker : workers) HEDDLE_TRY(std::move(worker.failure));
    return Status::success();
  }
};

// packRows(source, begin, { dtype, rows, inputs, transposed, mayBeCompact? }, target, firstOutput)
Napi::Value pack_rows(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto job = std::make_shared<PackJob>();
  job->source = source_argument(info, 0);
  if (!info[2].IsObject()) bad_argument(info, 2, "{ dtype, rows, inputs, transposed }");
  const auto layout = info[2].As<Napi::Object>();
  job->dtype = dtype_of(env, layout.Get("dtype").ToNumber().Int64Value());
  job->rows = layout.Get("rows").ToNumber().Int64Value();
  job->inputs = layout.Get("inputs").ToNumber().Int64Value();
  job->transposed = layout.Get("transposed").ToBoolean();
  job->may_be_compact = layout.Get("mayBeCompact").ToBoolean();
  job->target = BufferObject::unwrap(env, info[3]).block(env);
  job->first_output = integer_argument(info, 4);
  const int64_t outputs = job->first_output + job->rows;
  const bool sized = job->rows >= 0 && job->inputs >= 0 && job->rows < (int64_t{1} << 31) && job->inputs < (int64_t{1} << 31);
  if (job->may_be_compact && (job->dtype != DType::kBF16 || job->target->device() != nullptr)) bad_argument(info, 2, "bf16 rows in host memory where mayBeCompact");
  const bool fits = sized && (job->may_be_compact ? compact_slots_bytes(outputs, job->inputs) : linear_packed_bytes(job->dtype, outputs, job->inputs)) <=
                                 job->target->bytes();
  if (!fits || job->dtype == DType::kI32 || job->dtype == DType::kU8) bad_argument(info, 2, "float rows that fit into the target");
  return Environment::of(env).run([job](ThreadPool& pool) { return job->run(pool); }, [](Napi::Env done) { return done.Undefined(); });
}

// compactPanels(target, outputs, inputs), plainPanels(target, outputs, inputs): weights that were packed with mayBeCompact
Napi::Value convert_panels(const Napi::CallbackInfo& info, bool compact) {
  auto target = BufferObject::unwrap(info.Env(), info[0]).block(info.Env());
  const int64_t outputs = integer_argument(info, 1, 0, (int64_t{1} << 31) - 1), inputs = integer_argument(info, 2, 0, (int64_t{1} << 31) - 1);
  if (target->device() != nullptr || compact_slots_bytes(outputs, inputs) > target->bytes()) bad_argument(info, 1, "the outputs and inputs of the weight in the target");
  return Environment::of(info.Env())
      .run(
          [=](ThreadPool& pool) -> Status {
            CompactWeight weight(target->data(), outputs, inputs);
            if (compact) {
              target->give_back(static_cast<uint64_t>(weight.make_compact(pool)));
            } else {
              target->take_back();
              weight.make_plain(pool);
            }
            return Status::success();
          },
          [](Napi::Env done) { return done.Undefined(); });
}

// compactRows(rows, count): a group, or undefined where its rows cannot be compact
Napi::Value compact_rows(const Napi::CallbackInfo& info) {
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint16_array) bad_argument(info, 0, "a Uint16Array");
  auto rows = info[0].As<Napi::Uint16Array>();
  const auto numbers = static_cast<int64_t>(rows.ElementLength());
  const int64_t count = integer_argument(info, 1, 1, std::max<int64_t>(1, numbers));
  if (numbers % count != 0) bad_argument(info, 1, "a number of rows of equal width");
  if (numbers == 0 || !can_be_compact(count, numbers / count)) return info.Env().Undefined();
  const auto bytes = static_cast<size_t>(CompactGroupShape(count, numbers / count).bytes());
  auto group = Napi::Uint8Array::New(info.Env(), bytes);  // zeros
  if (!make_compact_rows(rows.Data(), count, numbers / count, group.Data())) return info.Env().Undefined();
  return group;
}

float to_f32(DType dtype, const std::byte* at) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, at, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return dtype == DType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

// copyElements(source, begin, count, fromDtype, toDtype, target, offset): equal dtypes, or any float to f32
Napi::Value copy_elements(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto source = source_argument(info, 0);
  const int64_t count = integer_argument(info, 2, 0, int64_t{1} << 46);
  const DType from = dtype_of(env, integer_argument(info, 3)), to = dtype_of(env, integer_argument(info, 4));
  auto target = BufferObject::unwrap(env, info[5]).block(env);
  const uint64_t offset = static_cast<uint64_t>(integer_argument(info, 6));
  const uint64_t bytes = static_cast<uint64_t>(count) * dtype_bytes(to);
  if (offset > target->bytes() || bytes > target->bytes() - offset) bad_argument(info, 6, "elements that fit into the target");
  const bool converts = from != to;
  if (converts && (to != DType::kF32 || (from != DType::kF16 && from != DType::kBF16))) bad_argument(info, 4, "the same dtype, or f32 from a float");
  return Environment::of(env).run(
      [=](ThreadPool&) -> Status {
        if (!converts && target->device() == nullptr) return source->read(0, bytes, target->data() + offset);
        // In pieces: a converted or device-bound tensor never lies in the processor's memory as a whole.
        const uint64_t from_width = dtype_bytes(from), to_width = dtype_bytes(to);
        std::vector<std::byte> raw, converted;
        for (int64_t done = 0; done < count;) {
          const int64_t piece = std::min<int64_t>(count - done, static_cast<int64_t>(kCopyBytes / to_width));
          raw.resize(static_cast<size_t>(piece) * from_width);
          HEDDLE_TRY(source->read(static_cast<uint64_t>(done) * from_width, raw.size(), raw.data()));
          if (converts) {
            converted.resize(static_cast<size_t>(piece) * to_width);
            auto* out = reinterpret_cast<float*>(converted.data());
            for (int64_t i = 0; i < piece; i++) out[i] = to_f32(from, raw.data() + static_cast<size_t>(i) * from_width);
          }
          const auto& ready = converts ? converted : raw;
          HEDDLE_TRY(target->write(offset + static_cast<uint64_t>(done) * to_width, ready.data(), ready.size()));
          done += piece;
        }
        return Status::success();
      },
      [](Napi::Env done) { return done.Undefined(); });
}

}  // namespace

void install_packing(Napi::Env env, Napi::Object exports) {
  exports.Set("packedBytes", Napi::Function::New(env, packed_bytes));
  exports.Set("packRows", Napi::Function::New(env, pack_rows));
  exports.Set("compactPanels", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return convert_panels(info, true); }));
  exports.Set("plainPanels", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return convert_panels(info, false); }));
  exports.Set("compactPays", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), compact_pays(cpu_target())); }));
  exports.Set("compactRows", Napi::Function::New(env, compact_rows));
  exports.Set("copyElements", Napi::Function::New(env, copy_elements));
}

}  // namespace heddle
