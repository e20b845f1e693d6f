// kv_write: one thread per channel of a token. A page's keys hold 16 positions side by side, so a token alone writes one element
// per 32-byte sector; the tokens of a prompt fill the sectors together in the L2 cache.
#include "generated/attention_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/attention/cache_place.cuh"
#include "kernels/rope/rotation.cuh"

namespace heddle {
namespace {

constexpr int kThreads = 256;

struct WriteJob {
  const float *k, *v;
  int64_t k_stride, v_stride;
  const int32_t *positions, *request;
  CacheLayer layer;
  PlaceFailures failures;
  int64_t parts;  // blocks per token
  int64_t heads, width;
  const float* table;  // nullptr: keys are stored as they are
  int64_t table_stride, half;
  bool interleaved;
};

// Channel `channel` of a head after rotation by the token's row of the table.
__device__ __forceinline__ float rotated_channel(const WriteJob& job, const float* head, int64_t channel, int64_t token) {
  if (job.table == nullptr || channel >= 2 * job.half) return head[channel];
  const int64_t pair = job.interleaved ? channel / 2 : channel % job.half;
  const bool is_left = job.interleaved ? channel % 2 == 0 : channel < job.half;
  const float left = head[job.interleaved ? 2 * pair : pair], right = head[job.interleaved ? 2 * pair + 1 : job.half + pair];
  const float* row = job.table + token * job.table_stride;
  const float cosine = row[pair], sine = row[job.half + pair];
  return is_left ? rotated_left(left, right, cosine, sine) : rotated_right(left, right, cosine, sine);
}

template <class Stored>
__global__ void write_token(const WriteJob job) {
  const int64_t token = blockIdx.x / job.parts;
  const int64_t channel = blockIdx.x % job.parts * kThreads + threadIdx.x;
  const int64_t position = job.positions[token];
  if (position < 0 || channel >= job.heads * job.width) return;
  const int64_t request = job.request[token];
  if (!has_place(job.layer, job.failures, token, request, position)) return;
  Stored* page = find_page<Stored>(job.layer, job.failures, request, position / kBlockTokens);
  if (page == nullptr) return;
  const int64_t slot = position % kBlockTokens;
  const int64_t head = channel / job.width;
  const float key = rotated_channel(job, job.k + token * job.k_stride + head * job.width, channel % job.width, token);
  page[key_offset(job.width, 0, channel, slot)] = from_f32<Stored>(key);
  page[value_offset(job.heads, job.width, head, slot, channel % job.width)] = from_f32<Stored>(job.v[token * job.v_stride + channel]);
}

}  // namespace

Status kv_write_cuda(const KvWriteArgs& args, CudaContext& context) {
  WriteJob job = {};
  HEDDLE_TRY(check_kv_write(args, &job.layer));
  job.k = args.k.as<const float>();
  job.v = args.v.as<const float>();
  job.k_stride = args.k.leading_stride;
  job.v_stride = args.v.leading_stride;
  job.positions = args.positions.as<const int32_t>();
  job.request = args.request.as<const int32_t>();
  job.failures = HEDDLE_PLACE_FAILURES(context, "kv_write");
  job.heads = args.k.dims[1];
  job.width = args.k.dims[2];
  job.table = args.table.as<const float>();
  job.table_stride = args.table.leading_stride;
  job.half = args.table.present() ? args.table.dims[1] / 2 : 0;
  job.interleaved = args.interleaved;
  job.parts = ceil_div(job.heads * job.width, kThreads);
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.k.dims[0] * job.parts)), kThreads};
  if (args.cache_type == KvWriteCacheType::kF32) return context.launch("kv_write", write_token<float>, shape, job);
  if (args.cache_type == KvWriteCacheType::kF16) return context.launch("kv_write", write_token<F16>, shape, job);
  return context.launch("kv_write", write_token<BF16>, shape, job);
}

}  // namespace heddle
