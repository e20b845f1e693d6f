#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/elementwise_ops.h"
#include "kernels/elementwise/pieces.h"

#define HEDDLE_TARGET_FILE "kernels/elementwise/elementwise_grad_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/elementwise/activations.h"

namespace heddle::HEDDLE_TARGET {
namespace {

template <class Function>
inline void slope_times(const float* x, const float* dy, float* dx, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(dx + i, mul(load(dy + i), Function::of(load(x + i)).slope));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(dx + i, mul(load_partial(dy + i, rest), Function::of(load_partial(x + i, rest)).slope), rest);
}

template <class Function>
inline void both_times(const float* x, const float* up, const float* dy, float* d_gate, float* d_up, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Slope f = Function::of(load(x + i));
    const Vector upstream = load(dy + i);
    store(d_gate + i, mul(mul(upstream, load(up + i)), f.slope));
    store(d_up + i, mul(upstream, f.value));
  }
  const int rest = static_cast<int>(count - i);
  if (rest > 0) {
    const Slope f = Function::of(load_partial(x + i, rest));
    const Vector upstream = load_partial(dy + i, rest);
    store_partial(d_gate + i, mul(mul(upstream, load_partial(up + i, rest)), f.slope), rest);
    store_partial(d_up + i, mul(upstream, f.value), rest);
  }
}

void activate_grad(ActivateGradFunction function, const float* x, const float* dy, float* dx, int64_t count) {
  switch (function) {
    case ActivateGradFunction::kRelu:
      return slope_times<ReluSlope>(x, dy, dx, count);
    case ActivateGradFunction::kGelu:
      return slope_times<GeluSlope>(x, dy, dx, count);
    case ActivateGradFunction::kGeluTanh:
      return slope_times<GeluTanhSlope>(x, dy, dx, count);
    case ActivateGradFunction::kSilu:
      return slope_times<SiluSlope>(x, dy, dx, count);
    case ActivateGradFunction::kSigmoid:
      return slope_times<SigmoidSlope>(x, dy, dx, count);
    case ActivateGradFunction::kTanh:
      return slope_times<TanhSlope>(x, dy, dx, count);
  }
}

void gate_grad(GateGradFunction function, const float* x, const float* up, const float* dy, float* d_gate, float* d_up, int64_t count) {
  switch (function) {
    case GateGradFunction::kRelu:
      return both_times<ReluSlope>(x, up, dy, d_gate, d_up, count);
    case GateGradFunction::kGelu:
      return both_times<GeluSlope>(x, up, dy, d_gate, d_up, count);
    case GateGradFunction::kGeluTanh:
      return both_times<GeluTanhSlope>(x, up, dy, d_gate, d_up, count);
    case GateGradFunction::kSilu:
      return both_times<SiluSlope>(x, up, dy, d_gate, d_up, count);
    case GateGradFunction::kSigmoid:
      return both_times<SigmoidSlope>(x, up, dy, d_gate, d_up, count);
    case GateGradFunction::kTanh:
      return both_times<TanhSlope>(x, up, dy, d_gate, d_up, count);
  }
}

void soft_cap_grad(const float* x, float cap, const float* dy, float* dx, int64_t count) {
  const Vector limit = broadcast(cap);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(dx + i, mul(load(dy + i), TanhSlope::of(div(load(x + i), limit)).slope));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(dx + i, mul(load_partial(dy + i, rest), TanhSlope::of(div(load_partial(x + i, rest), limit)).slope), rest);
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

Status activate_grad_cpu(const ActivateGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_activate_grad(args));
  const auto kernel = HEDDLE_DISPATCH(activate_grad);
  over_pieces(
      context, kFunctionGrain, [&](const float* x, const float* dy, float* dx, int64_t count) { kernel(args.function, x, dy, dx, count); }, args.x,
      args.dy, args.dx);
  return Status::success();
}

Status gate_grad_cpu(const GateGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_gate_grad(args));
  const auto kernel = HEDDLE_DISPATCH(gate_grad);
  over_pieces(
      context, kFunctionGrain,
      [&](const float* x, const float* up, const float* dy, float* d_gate, float* d_up, int64_t count) {
        kernel(args.function, x, up, dy, d_gate, d_up, count);
      },
      args.gate, args.up, args.dy, args.d_gate, args.d_up);
  return Status::success();
}

Status soft_cap_grad_cpu(const SoftCapGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_soft_cap_grad(args));
  const auto kernel = HEDDLE_DISPATCH(soft_cap_grad);
  over_pieces(
      context, kFunctionGrain, [&](const float* x, const float* dy, float* dx, int64_t count) { kernel(x, args.cap, dy, dx, count); }, args.x, args.dy,
      args.dx);
  return Status::success();
}

}  // namespace heddle
#endif
