// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;
struct CudaContext;
struct DeviceLimits;

// y[b, r, j] = 1 where key j is in a range of token r mod tokens (ranges as in self_attention), else 0; f32 of x's shape [batch, rows, keys], rows a multiple of the tokens; x is not read
struct SeenLikeArgs {
  TensorView x;
  TensorView ranges;
  TensorView y;  // output
};
Status seen_like_cpu(const SeenLikeArgs& args, CpuContext& context);
Status seen_like_cuda(const SeenLikeArgs& args, CudaContext& context);

// y[t, h] = sum_j p[j] v_j and lse[t, h] = log sum_j exp(s[j]) with p = softmax(s), s[j] = cap(scale q[t, h] . k_j), over the keys j of [r0, r1) and [r2, r3) = ranges[t] (i32 [tokens, 4]; the two do not meet); q f32 [tokens, heads, width], k and v f32 [keys, key heads, width], query heads share key heads in equal groups; cap(s) = soft_cap tanh(s / soft_cap) when soft_cap > 0; a token without keys gives zeros and -inf
struct SelfAttentionArgs {
  TensorView q;
  TensorView k;
  TensorView v;
  TensorView ranges;
  TensorView y;  // output
  TensorView lse;  // output
  float scale;
  float soft_cap;
};
Status self_attention_cpu(const SelfAttentionArgs& args, CpuContext& context);
size_t self_attention_cpu_workspace(const SelfAttentionArgs& args, int threads);
Status self_attention_cuda(const SelfAttentionArgs& args, CudaContext& context);

// gradients of self_attention from its inputs, its outputs y and lse, and dy: p = exp(s - lse), ds = p (dy . v_j - dy . y + dlse) cap'(s), dlse the gradient of lse if there is one; dq[t, h] = scale sum_j ds k_j, dk[j] = scale sum_t ds q_t, dv[j] = sum_t p dy_t; a key that no token sees gets zeros
struct SelfAttentionGradArgs {
  TensorView q;
  TensorView k;
  TensorView v;
  TensorView ranges;
  TensorView y;
  TensorView lse;
  TensorView dy;
  TensorView dlse;  // optional
  TensorView dq;  // output
  TensorView dk;  // output
  TensorView dv;  // output
  float scale;
  float soft_cap;
};
Status self_attention_grad_cpu(const SelfAttentionGradArgs& args, CpuContext& context);
size_t self_attention_grad_cpu_workspace(const SelfAttentionGradArgs& args, int threads);
Status self_attention_grad_cuda(const SelfAttentionGradArgs& args, CudaContext& context);
size_t self_attention_grad_cuda_workspace(const SelfAttentionGradArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
