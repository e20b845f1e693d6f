// Optimiser steps in place over flat f32 state. A first kernel looks at all gradients and settles the step; a second one takes it
// or leaves everything as it was. Nothing passes through the host.
#include <cfloat>

#include "cuda/cuda_context.h"
#include "cuda/last_block.cuh"
#include "cuda/row_team.cuh"
#include "generated/optimiser_ops.h"
#include "kernels/optimiser/optimiser_checks.h"

namespace heddle {

namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kChunk = static_cast<int64_t>(kThreads) * 4 * 4;  // elements that a block reads at a time
constexpr int64_t kMostSums = 512;            // blocks, and so partial sums, of sum_squares

// Calls step(four, count) for the calling thread's fours of x, chunk by chunk.
template <class Step>
__device__ __forceinline__ void each_four_of(const float* x, int64_t count, bool aligned, const Step& step) {
  for (int64_t chunk = static_cast<int64_t>(blockIdx.x) * kChunk; chunk < count; chunk += static_cast<int64_t>(gridDim.x) * kChunk) {
    Four fours[4];
#pragma unroll
    for (int part = 0; part < 4; part++) {
      const int64_t i = chunk + (part * static_cast<int64_t>(kThreads) + threadIdx.x) * 4;
      fours[part] = i < count ? load_four(x + i, count - i < 4 ? static_cast<int>(count - i) : 4, aligned) : Four{{0, 0, 0, 0}};
    }
#pragma unroll
    for (int part = 0; part < 4; part++) step(fours[part]);
  }
}

__global__ void __launch_bounds__(kThreads) sum_squares_kernel(const float* x, int64_t count, bool aligned, double* sums, int32_t* counter, float* y) {
  HEDDLE_SHARED(double, scratch, 32);
  HEDDLE_SHARED(int32_t, last, 1);
  double parts[4] = {0, 0, 0, 0};
  each_four_of(x, count, aligned, [&](const Four& four) {
#pragma unroll
    for (int k = 0; k < 4; k++) parts[k] += static_cast<double>(four.v[k]) * static_cast<double>(four.v[k]);
  });
  const double sum = block_sum((parts[0] + parts[1]) + (parts[2] + parts[3]), scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  if (!last_block(counter, static_cast<int32_t>(gridDim.x), last)) return;
  double total = 0;
  for (unsigned block = threadIdx.x; block < gridDim.x; block += kThreads) total += sums[block];
  total = block_sum(total, scratch);
  if (threadIdx.x == 0) *y = static_cast<float>(total);
}

__global__ void clip_factor_kernel(const float* square_sum, float* factor, float max_norm) {
  const float sum = *square_sum;
  const double share = static_cast<double>(max_norm) / (sqrt(static_cast<double>(sum)) + 1e-6);
  *factor = fabsf(sum) <= FLT_MAX ? static_cast<float>(share < 1 ? share : 1) : __uint_as_float(0x7fc00000u);
}

// A step as the first kernel settled it.
template <class Step>
struct Settled {
  Step step;
  int32_t applied;
};

__device__ __forceinline__ bool is_finite(float value) { return fabsf(value) <= FLT_MAX; }

struct AdamwRule {
  using Step = AdamwStep;
  float first_share, second_share, eps, weight_decay, rate_scale;
  Failure no_rate, no_first, no_second;

  // False: the schedule cannot be used, which was reported.
  __device__ bool settle(const float* schedule, float factor, Step& step) const {
    bool usable = true;
    const auto expect = [&](bool holds, const Failure& failure, float value) {
      if (!holds) failure.report(static_cast<int64_t>(__float_as_uint(value)));
      usable = usable && holds;
    };
    expect(is_finite(schedule[0]), no_rate, schedule[0]);
    if (usable) expect(schedule[1] > 0 && schedule[1] <= 1, no_first, schedule[1]);
    if (usable) expect(schedule[2] > 0 && schedule[2] <= 1, no_second, schedule[2]);
    const double rate = static_cast<double>(schedule[0]) * static_cast<double>(rate_scale);
    step = {factor,
            first_share,
            second_share,
            static_cast<float>(rate * static_cast<double>(weight_decay)),
            static_cast<float>(rate / static_cast<double>(schedule[1])),
            static_cast<float>(1.0 / sqrt(static_cast<double>(schedule[2]))),
            eps};
    return usable;
  }
};

struct SgdRule {
  using Step = SgdStep;
  float momentum, weight_decay, rate_scale;
  bool nesterov;
  Failure no_rate;

  __device__ bool settle(const float* schedule, float factor, Step& step) const {
    step = {factor, momentum, weight_decay, schedule[0] * rate_scale, nesterov};
    if (is_finite(schedule[0])) return true;
    no_rate.report(static_cast<int64_t>(__float_as_uint(schedule[0])));
    return false;
  }
};

struct Gradients {
  const float* gradients;
  int64_t count;
  bool aligned;
  const float* schedule;
  const float* factor;  // or nullptr
  int32_t* counters;    // two
};

// Whether every factor * g leaves a square that fits into f32; a NaN does not.
template <class Rule>
__global__ void __launch_bounds__(kThreads) settle_kernel(Gradients given, Rule rule, Settled<typename Rule::Step>* settled, int32_t* applied) {
  HEDDLE_SHARED(int32_t, last, 1);
  const float factor = given.factor != nullptr ? *given.factor : 1.0f;
  bool usable = true;
  each_four_of(given.gradients, given.count, given.aligned, [&](const Four& four) {
#pragma unroll
    for (int k = 0; k < 4; k++) usable = usable && fabsf(factor * four.v[k]) <= 1e19f;
  });
  int32_t* unusable = given.counters + 1;
  if (!__all_sync(kFullWarp, usable) && threadIdx.x % kWarp == 0) atomicOr(unusable, 1);
  if (!last_block(given.counters, static_cast<int32_t>(gridDim.x), last) || threadIdx.x != 0) return;
  // Where something of this step was refused, its gradients are not whole.
  const bool refused = rule.no_rate.slot->code != 0;
  const bool all = atomicExch(unusable, 0) == 0 && is_finite(factor) && !refused;
  settled->applied = rule.settle(given.schedule, factor, settled->step) && all ? 1 : 0;
  *applied = settled->applied;
}

__device__ __forceinline__ void take(const AdamwStep& s, float g, float& p, float& m, float& v) {
  const float gradient = s.factor * g;
  m += s.first_share * (gradient - m);
  v += s.second_share * (gradient * gradient - v);
  p -= s.decay * p + s.step * m / (sqrtf(v) * s.root_factor + s.eps);
}

__device__ __forceinline__ void take(const SgdStep& s, float g, float& p, float& velocity) {
  const float gradient = s.factor * g + s.weight_decay * p;
  velocity = s.momentum * velocity + gradient;
  p -= s.rate * (s.nesterov ? gradient + s.momentum * velocity : velocity);
}

// The state of an element is its parameter and what else the step keeps for it.
template <int States>
struct StateOf {
  float* of[States];
};

template <class Step, int States>
__global__ void __launch_bounds__(kThreads) step_kernel(const Settled<Step>* settled, const float* gradients, StateOf<States> state, int64_t count, bool aligned) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (i >= count) return;
  const int here = count - i < 4 ? static_cast<int>(count - i) : 4;
  const Four g = load_four(gradients + i, here, aligned);
  Four values[States];
#pragma unroll
  for (int which = 0; which < States; which++) values[which] = load_four(state.of[which] + i, here, aligned);
  if (settled->applied == 0) return;
  const Step step = settled->step;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    if constexpr (States == 3) {
      take(step, g.v[k], values[0].v[k], values[1].v[k], values[2].v[k]);
    } else {
      take(step, g.v[k], values[0].v[k], values[1].v[k]);
    }
  }
#pragma unroll
  for (int which = 0; which < States; which++) store_four(state.of[which] + i, values[which], here, aligned);
}

template <int States, class Rule>
Status take_step(const char* op, const StepOperands& operands, const StateOf<States>& state, const Rule& rule, CudaContext& context) {
  using Step = typename Rule::Step;
  const int64_t count = operands.parameters.elements();
  const float* gradients = operands.gradients.as<float>();
  bool aligned = is_aligned16(gradients);
  for (float* of : state.of) aligned = aligned && is_aligned16(of);
  auto* settled = reinterpret_cast<Settled<Step>*>(context.workspace);
  const Gradients given = {gradients, count, is_aligned16(gradients), operands.schedule.as<float>(), operands.factor.as<float>(), context.counters};
  // Without gradients one block settles the step all the same.
  const int64_t chunks = count == 0 ? 1 : ceil_div(count, kChunk);
  const LaunchShape settling = {strided_grid(chunks, static_cast<int64_t>(context.limits.multiprocessors) * 8), kThreads};
  HEDDLE_TRY(context.launch(op, settle_kernel<Rule>, settling, given, rule, settled, operands.applied.as<int32_t>()));
  const LaunchShape stepping = {dim3(static_cast<unsigned>(ceil_div(count, static_cast<int64_t>(kThreads) * 4))), kThreads};
  return context.launch(op, step_kernel<Step, States>, stepping, settled, gradients, state, count, aligned);
}

}  // namespace

size_t sum_squares_cuda_workspace(const SumSquaresArgs&, const DeviceLimits&) { return static_cast<size_t>(kMostSums) * sizeof(double); }
size_t adamw_cuda_workspace(const AdamwArgs&, const DeviceLimits&) { return sizeof(Settled<AdamwStep>); }
size_t sgd_cuda_workspace(const SgdArgs&, const DeviceLimits&) { return sizeof(Settled<SgdStep>); }

Status sum_squares_cuda(const SumSquaresArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_sum_squares(args));
  const int64_t count = args.x.elements();
  const float* x = args.x.as<float>();
  const LaunchShape shape = {strided_grid(count == 0 ? 1 : ceil_div(count, kChunk), kMostSums), kThreads};
  return context.launch("sum_squares", sum_squares_kernel, shape, x, count, is_aligned16(x), reinterpret_cast<double*>(context.workspace), context.counters,
                        args.y.as<float>());
}

Status clip_factor_cuda(const ClipFactorArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_clip_factor(args));
  return context.launch("clip_factor", clip_factor_kernel, LaunchShape{dim3(1), 1}, args.square_sum.as<float>(), args.factor.as<float>(), args.max_norm);
}

Status adamw_cuda(const AdamwArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_adamw(args));
  const AdamwRule rule = {args.first_share,
                          args.second_share,
                          args.eps,
                          args.weight_decay,
                          args.rate_scale,
                          context.failure("[adamw] schedule[0], the rate, is {0f}: expected a finite number"),
                          context.failure("[adamw] schedule[1], 1 - beta1^t, is {0f}: expected more than 0 and at most 1"),
                          context.failure("[adamw] schedule[2], 1 - beta2^t, is {0f}: expected more than 0 and at most 1")};
  const StateOf<3> state = {{args.parameters.as<float>(), args.first.as<float>(), args.second.as<float>()}};
  return take_step("adamw", {args.parameters, args.gradients, args.schedule, args.factor, args.applied}, state, rule, context);
}

Status sgd_cuda(const SgdArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_sgd(args));
  const SgdRule rule = {args.momentum, args.weight_decay, args.rate_scale, args.nesterov,
                        context.failure("[sgd] schedule[0], the rate, is {0f}: expected a finite number")};
  const StateOf<2> state = {{args.parameters.as<float>(), args.velocity.as<float>()}};
  return take_step("sgd", {args.parameters, args.gradients, args.schedule, args.factor, args.applied}, state, rule, context);
}

}  // namespace heddle
