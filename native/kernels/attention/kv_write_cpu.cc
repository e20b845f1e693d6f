// kv_write: the new keys and values of a step go to their places in the page pool, rotated where asked and rounded to the cache's type.
#include <algorithm>

#include "core/float16.h"
#include "cpu/cpu_context.h"
#include "generated/attention_ops.h"
#include "kernels/attention/attention_checks.h"
#include "kernels/rope/rotate_token.h"

namespace heddle {
namespace {

constexpr const char* kOp = "kv_write";
constexpr int64_t kInlineElements = 1 << 14;  // below this a parallel region costs more than it gives

struct StoreF32 {
  using Stored = float;
  static float convert(float x) { return x; }
};
struct StoreF16 {
  using Stored = uint16_t;
  static uint16_t convert(float x) { return f32_to_f16(x); }
};
struct StoreBf16 {
  using Stored = uint16_t;
  static uint16_t convert(float x) { return f32_to_bf16(x); }
};

// `rotated` has room for the keys of one token.
template <class Type>
void write_tokens(const KvWriteArgs& args, const CacheLayer& layer, int64_t first, int64_t last, float* rotated) {
  using Stored = typename Type::Stored;
  const int64_t heads = args.k.dims[1], width = args.k.dims[2], channels = heads * width;
  for (int64_t token = first; token < last; token++) {
    const int64_t position = args.positions.as<const int32_t>()[token];
    if (position < 0) continue;
    const int64_t request = args.request.as<const int32_t>()[token], slot = position % kBlockTokens;
    Stored* page = reinterpret_cast<Stored*>(layer.page(request, position / kBlockTokens));
    const float* k = args.k.row<const float>(token);
    const float* v = args.v.row<const float>(token);
    if (args.table.present()) {
      rope_rotate_token(args.table.row<const float>(token), args.table.dims[1], args.interleaved, k, heads, width, rotated);
      k = rotated;
    }
    Stored* keys = page + slot;
    for (int64_t channel = 0; channel < channels; channel++) keys[channel * kBlockTokens] = Type::convert(k[channel]);
    for (int64_t head = 0; head < heads; head++) {
      Stored* values = page + value_offset(heads, width, head, slot, 0);
      for (int64_t channel = 0; channel < width; channel++) values[channel] = Type::convert(v[head * width + channel]);
    }
  }
}

size_t keys_bytes(const KvWriteArgs& args) { return (static_cast<size_t>(args.k.dims[1] * args.k.dims[2]) * sizeof(float) + 63) / 64 * 64; }

}  // namespace

size_t kv_write_cpu_workspace(const KvWriteArgs& args, int threads) {
  return args.table.present() ? static_cast<size_t>(threads) * keys_bytes(args) : 0;
}

Status kv_write_cpu(const KvWriteArgs& args, CpuContext& context) {
  CacheLayer layer;
  HEDDLE_TRY(check_kv_write(args, &layer));
  HEDDLE_CHECK(context.workspace_bytes >= kv_write_cpu_workspace(args, context.threads()), kOp, "the workspace is too small");
  const TensorView& k = args.k;
  const int64_t tokens = k.dims[0];
  for (int64_t token = 0; token < tokens; token++) {
    const int64_t position = args.positions.as<const int32_t>()[token], request = args.request.as<const int32_t>()[token];
    if (position < 0) continue;
    HEDDLE_TRY(check_place(kOp, layer, token, request, position));
    HEDDLE_TRY(check_pages(kOp, layer, request, position / kBlockTokens, position / kBlockTokens));
  }

  const auto write = args.cache_type == KvWriteCacheType::kF32    ? write_tokens<StoreF32>
                     : args.cache_type == KvWriteCacheType::kF16 ? write_tokens<StoreF16>
                                                                 : write_tokens<StoreBf16>;
  if (k.elements() <= kInlineElements) {
    write(args, layer, 0, tokens, reinterpret_cast<float*>(context.workspace));
    return Status::success();
  }
  context.parallel((tokens + kBlockTokens - 1) / kBlockTokens, [&](int64_t chunk, int worker) {
    auto* rotated = reinterpret_cast<float*>(context.workspace + static_cast<size_t>(worker) * (args.table.present() ? keys_bytes(args) : 0));
    write(args, layer, chunk * kBlockTokens, std::min(tokens, (chunk + 1) * kBlockTokens), rotated);
  });
  return Status::success();
}

}  // namespace heddle
