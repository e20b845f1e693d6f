// kv_write: one thread per channel of a token. A page's keys hold 16 positions side by side, so a token alone writes one element
// per 32-byte sector; the tokens of a prompt fill the sectors together in the L2 cache.
#include "generated/attention_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/attention/cache_place.cuh"

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
};

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
  page[key_offset(job.width, 0, channel, slot)] = from_f32<Stored>(job.k[token * job.k_stride + channel]);
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
  job.parts = ceil_div(job.heads * job.width, kThreads);
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.k.dims[0] * job.parts)), kThreads};
  if (args.cache_type == KvWriteCacheType::kF32) return context.launch("kv_write", write_token<float>, shape, job);
  if (args.cache_type == KvWriteCacheType::kF16) return context.launch("kv_write", write_token<F16>, shape, job);
  return context.launch("kv_write", write_token<BF16>, shape, job);
}

}  // namespace heddle
