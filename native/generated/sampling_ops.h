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

// after sampling: appends token[r] to history, counts it, and gives the next step's token and position, or -1 where the request has ended by a stop token (state 1) or its length (state 2)
struct AdvanceArgs {
  TensorView token;
  TensorView positions;
  TensorView integers;
  TensorView history;
  TensorView history_state;
  TensorView stop_tokens;
  TensorView next_token;  // output
  TensorView next_position;  // output
  TensorView state;  // output
  TensorView running;  // output
};
Status advance_cpu(const AdvanceArgs& args, CpuContext& context);
Status advance_cuda(const AdvanceArgs& args, CudaContext& context);

// token[r] drawn from logits[r] after bias, penalties, temperature, top-k, top-p, min-p; greedy when temperature is 0. The exact order and the parameter columns: see sampling_layout.h
struct SampleArgs {
  TensorView logits;
  TensorView positions;
  TensorView controls;
  TensorView integers;
  TensorView history;
  TensorView history_state;
  TensorView bias_tokens;
  TensorView bias_values;
  TensorView token;  // output
  TensorView logprob;  // output
  TensorView top_tokens;  // output
  TensorView top_logprobs;  // output
};
Status sample_cpu(const SampleArgs& args, CpuContext& context);
size_t sample_cpu_workspace(const SampleArgs& args, int threads);
Status sample_cuda(const SampleArgs& args, CudaContext& context);
size_t sample_cuda_workspace(const SampleArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
