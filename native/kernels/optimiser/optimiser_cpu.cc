// Optimiser steps in place over flat f32 state. A step looks at all gradients before it changes anything.
#include <cmath>
#include <cstring>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/optimiser_ops.h"
#include "kernels/optimiser/optimiser_checks.h"

#define HEDDLE_TARGET_FILE "kernels/optimiser/optimiser_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {
namespace {

// Plain loops: each element has the same roundings wherever it lies, and compilers vectorise them.

// Whether every factor * g leaves a square that fits into f32. A NaN does not.
bool all_usable(const float* g, float factor, int64_t count) {
  int32_t unusable = 0;
  for (int64_t i = 0; i < count; i++) unusable |= !(std::fabs(factor * g[i]) <= 1e19f);
  return unusable == 0;
}

void adamw_block(const AdamwStep& step, float* __restrict p, const float* __restrict g, float* __restrict m, float* __restrict v, int64_t count) {
  const AdamwStep s = step;
  for (int64_t i = 0; i < count; i++) {
    const float gradient = s.factor * g[i];
    const float first = m[i] + s.first_share * (gradient - m[i]);
    const float second = v[i] + s.second_share * (gradient * gradient - v[i]);
    const float change = s.decay * p[i] + s.step * first / (std::sqrt(second) * s.root_factor + s.eps);
    p[i] -= change;
    m[i] = first;
    v[i] = second;
  }
}

void sgd_block(const SgdStep& step, float* __restrict p, const float* __restrict g, float* __restrict velocity, int64_t count) {
  const SgdStep s = step;
  for (int64_t i = 0; i < count; i++) {
    const float gradient = s.factor * g[i] + s.weight_decay * p[i];
    const float moved = s.momentum * velocity[i] + gradient;
    const float nesterov = gradient + s.momentum * moved;
    p[i] -= s.rate * (s.nesterov ? nesterov : moved);
    velocity[i] = moved;
  }
}

double block_squares(const float* x, int64_t count) {
  constexpr int kParts = 16;
  double sums[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= count; i += kParts)
    for (int part = 0; part < kParts; part++) sums[part] += static_cast<double>(x[i + part]) * x[i + part];
  for (int part = 0; i < count; i++, part++) sums[part] += static_cast<double>(x[i]) * x[i];
  for (int half = kParts / 2; half > 0; half /= 2)
    for (int part = 0; part < half; part++) sums[part] += sums[part + half];
  return sums[0];
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kBlock = 16384;  // elements per chunk

int64_t blocks_of(const TensorView& tensor) { return (tensor.elements() + kBlock - 1) / kBlock; }

// The numbers that only the operands' memory tells.
Status check_rate(const char* op, const TensorView& schedule) {
  const float rate = schedule.as<float>()[0];
  if (!std::isfinite(rate)) return refuse_number(op, "schedule[0], the rate,", rate, "a finite number");
  return Status::success();
}

float factor_of(const TensorView& factor) { return factor.present() ? factor.as<float>()[0] : 1.0f; }

// Calls body(first, count) for all blocks where every gradient can be used, and says so in `applied`.
template <class Body>
void step_or_skip(CpuContext& context, const StepOperands& operands, bool (*usable)(const float*, float, int64_t), const Body& body) {
  const int64_t count = operands.parameters.elements(), blocks = blocks_of(operands.parameters);
  const float factor = factor_of(operands.factor);
  const float* gradients = operands.gradients.as<float>();
  auto* verdicts = reinterpret_cast<uint8_t*>(context.workspace);
  const auto size = [&](int64_t block) { return count - block * kBlock < kBlock ? count - block * kBlock : kBlock; };
  context.parallel(blocks, [&](int64_t block, int) { verdicts[block] = usable(gradients + block * kBlock, factor, size(block)) ? 1 : 0; });
  bool all = std::isfinite(factor);
  for (int64_t block = 0; block < blocks; block++) all = all && verdicts[block] != 0;
  operands.applied.as<int32_t>()[0] = all ? 1 : 0;
  if (all) context.parallel(blocks, [&](int64_t block, int) { body(block * kBlock, size(block)); });
}

}  // namespace

size_t sum_squares_cpu_workspace(const SumSquaresArgs& args, int) { return static_cast<size_t>(blocks_of(args.x)) * sizeof(double); }

Status sum_squares_cpu(const SumSquaresArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_sum_squares(args));
  const auto kernel = HEDDLE_DISPATCH(block_squares);
  const int64_t count = args.x.elements(), blocks = blocks_of(args.x);
  auto* sums = reinterpret_cast<double*>(context.workspace);
  context.parallel(blocks, [&](int64_t block, int) {
    sums[block] = kernel(args.x.as<float>() + block * kBlock, count - block * kBlock < kBlock ? count - block * kBlock : kBlock);
  });
  double total = 0;
  for (int64_t block = 0; block < blocks; block++) total += sums[block];
  args.y.as<float>()[0] = static_cast<float>(total);
  return Status::success();
}

Status clip_factor_cpu(const ClipFactorArgs& args, CpuContext&) {
  HEDDLE_TRY(check_clip_factor(args));
  const double square_sum = args.square_sum.as<float>()[0];
  const double factor = args.max_norm / (std::sqrt(square_sum) + 1e-6);
  args.factor.as<float>()[0] = std::isfinite(square_sum) ? static_cast<float>(factor < 1 ? factor : 1) : std::nanf("");
  return Status::success();
}

size_t adamw_cpu_workspace(const AdamwArgs& args, int) { return static_cast<size_t>(blocks_of(args.parameters)); }

Status adamw_cpu(const AdamwArgs& args, CpuContext& context) {
  const StepOperands operands = {args.parameters, args.gradients, args.schedule, args.factor, args.applied};
  HEDDLE_TRY(check_adamw(args));
  HEDDLE_TRY(check_rate("adamw", args.schedule));
  const float* schedule = args.schedule.as<float>();
  const char* names[] = {"", "schedule[1], 1 - beta1^t,", "schedule[2], 1 - beta2^t,"};
  for (int i = 1; i < 3; i++)
    if (!(schedule[i] > 0 && schedule[i] <= 1)) return refuse_number("adamw", names[i], schedule[i], "more than 0 and at most 1");
  const double rate = static_cast<double>(schedule[0]) * args.rate_scale;
  const AdamwStep step = {factor_of(args.factor),
                          args.first_share,
                          args.second_share,
                          static_cast<float>(rate * args.weight_decay),
                          static_cast<float>(rate / schedule[1]),
                          static_cast<float>(1.0 / std::sqrt(static_cast<double>(schedule[2]))),
                          args.eps};
  const auto kernel = HEDDLE_DISPATCH(adamw_block);
  step_or_skip(context, operands, HEDDLE_DISPATCH(all_usable), [&](int64_t at, int64_t count) {
    kernel(step, args.parameters.as<float>() + at, args.gradients.as<float>() + at, args.first.as<float>() + at, args.second.as<float>() + at, count);
  });
  return Status::success();
}

size_t sgd_cpu_workspace(const SgdArgs& args, int) { return static_cast<size_t>(blocks_of(args.parameters)); }

Status sgd_cpu(const SgdArgs& args, CpuContext& context) {
  const StepOperands operands = {args.parameters, args.gradients, args.schedule, args.factor, args.applied};
  HEDDLE_TRY(check_sgd(args));
  HEDDLE_TRY(check_rate("sgd", args.schedule));
  const SgdStep step = {factor_of(args.factor), args.momentum, args.weight_decay, args.schedule.as<float>()[0] * args.rate_scale, args.nesterov};
  const auto kernel = HEDDLE_DISPATCH(sgd_block);
  step_or_skip(context, operands, HEDDLE_DISPATCH(all_usable), [&](int64_t at, int64_t count) {
    kernel(step, args.parameters.as<float>() + at, args.gradients.as<float>() + at, args.velocity.as<float>() + at, count);
  });
  return Status::success();
}

}  // namespace heddle
#endif
