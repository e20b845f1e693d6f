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
#include "kernels/linear/linear_pack.h"

namespace heddle {
namespace {

// Bytes that one worker reads at a time: stays in its cache between reading and packing.
constexpr uint64_t kPieceBytes = 512 << 10;

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
  bool transposed;

  Status run(ThreadPool& pool) const {
    const uint64_t width = dtype_bytes(dtype);
    if (transposed) {  // the rows of a transposed source lie apart: take it whole
      std::vector<std::byte> whole(static_cast<uint64_t>(rows * inputs) * width);
      HEDDLE_TRY(source->read(0, whole.size(), whole.data()));
      const int64_t pieces = std::max<int64_t>(1, std::min<int64_t>(rows / 64, 256));
      pool.parallel(pieces, [&](int64_t piece, int) {
        const int64_t from = rows * piece / pieces, to = rows * (piece + 1) / pieces;
        linear_pack_rows(dtype, whole.data() + static_cast<uint64_t>(from) * width, to - from, inputs, true, rows, first_output + from, target->data());
      });
      return Status::success();
    }
    const uint64_t row_bytes = static_cast<uint64_t>(inputs) * width;
    const int64_t piece_rows = std::max<int64_t>(1, static_cast<int64_t>(kPieceBytes / std::max<uint64_t>(row_bytes, 1)));
    const int64_t pieces = (rows + piece_rows - 1) / piece_rows;
    std::vector<std::vector<std::byte>> buffers(static_cast<size_t>(pool.threads()));
    for (auto& buffer : buffers) buffer.resize(row_bytes * static_cast<uint64_t>(std::min(piece_rows, rows)));
    std::vector<Status> failures(static_cast<size_t>(pool.threads()));
    pool.parallel(pieces, [&](int64_t piece, int worker) {
      const int64_t from = piece * piece_rows, count = std::min(piece_rows, rows - from);
      auto& buffer = buffers[static_cast<size_t>(worker)];
      Status status = source->read(static_cast<uint64_t>(from) * row_bytes, static_cast<uint64_t>(count) * row_bytes, buffer.data());
      if (status.ok()) {
        linear_pack_rows(dtype, buffer.data(), count, inputs, false, inputs, first_output + from, target->data());
      } else {
        failures[static_cast<size_t>(worker)] = std::move(status);
      }
    });
    for (Status& failure : failures) HEDDLE_TRY(std::move(failure));
    return Status::success();
  }
};

// packRows(source, begin, { dtype, rows, inputs, transposed }, target, firstOutput)
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
  job->target = BufferObject::unwrap(env, info[3]).block(env);
  job->first_output = integer_argument(info, 4);
  const bool fits = job->rows >= 0 && job->inputs >= 0 && job->rows < (int64_t{1} << 31) && job->inputs < (int64_t{1} << 31) &&
                    linear_packed_bytes(job->dtype, job->first_output + job->rows, job->inputs) <= job->target->bytes();
  if (!fits || job->dtype == DType::kI32 || job->dtype == DType::kU8) bad_argument(info, 2, "float rows that fit into the target");
  return Environment::of(env).run([job](ThreadPool& pool) { return job->run(pool); }, [](Napi::Env done) { return done.Undefined(); });
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
      [=](ThreadPool&) {
        if (!converts) return source->read(0, bytes, target->data() + offset);
        std::vector<std::byte> raw(static_cast<uint64_t>(count) * dtype_bytes(from));
        HEDDLE_TRY(source->read(0, raw.size(), raw.data()));
        auto* out = reinterpret_cast<float*>(target->data() + offset);
        for (int64_t i = 0; i < count; i++) out[i] = to_f32(from, raw.data() + static_cast<size_t>(i) * dtype_bytes(from));
        return Status::success();
      },
      [](Napi::Env done) { return done.Undefined(); });
}

}  // namespace

void install_packing(Napi::Env env, Napi::Object exports) {
  exports.Set("packedBytes", Napi::Function::New(env, packed_bytes));
  exports.Set("packRows", Napi::Function::New(env, pack_rows));
  exports.Set("copyElements", Napi::Function::New(env, copy_elements));
}

}  // namespace heddle
