// The function between two factors. No include guard: one copy per target, like adapter_rows.h.
// Include inside the HEDDLE_TARGET section, outside any namespace.
#include "kernels/elementwise/activations.h"

namespace heddle::HEDDLE_TARGET {

template <class Function>
void map_scaled(float scale, float* v, int64_t count) {
  const Vector factor = broadcast(scale);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(v + i, mul(factor, Function::of(load(v + i))));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(v + i, mul(factor, Function::of(load_partial(v + i, rest))), rest);
}

// v = scale f(v); f by its number, which was checked.
inline void activate_scaled(int32_t function, float scale, float* v, int64_t count) {
  switch (static_cast<ActivateFunction>(function)) {
    case ActivateFunction::kRelu:
      return map_scaled<Relu>(scale, v, count);
    case ActivateFunction::kGelu:
      return map_scaled<Gelu>(scale, v, count);
    case ActivateFunction::kGeluTanh:
      return map_scaled<GeluTanh>(scale, v, count);
    case ActivateFunction::kSilu:
      return map_scaled<Silu>(scale, v, count);
    case ActivateFunction::kSigmoid:
      return map_scaled<Sigmoid>(scale, v, count);
    case ActivateFunction::kTanh:
      return map_scaled<Tanh>(scale, v, count);
  }
}

}  // namespace heddle::HEDDLE_TARGET
