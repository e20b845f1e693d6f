// Products with a matrix of few numbers, rows one after the other.
#include "cuda/cuda_context.h"
#include "generated/sparse_ops.h"
#include "kernels/sparse/sparse_places.cuh"

namespace heddle {

namespace {

constexpr unsigned kLookThreads = 256;

// A warp per row.
__global__ void __launch_bounds__(kLookThreads, 4) look_at_places_kernel(Lists<uint16_t> places, int64_t inputs, PlaceRefusals refusals, FoundPlaces found) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kLookThreads / kWarp) + threadIdx.x / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (row == 0 && lane == 0) {
    const int32_t first = places.starts[0], last = places.starts[places.lists];
    if (first != 0 || last != places.count) refusals.ends.report(first, last, places.count);
  }
  if (row >= places.lists) return;
  if (lane == 0 && places.starts[row + 1] < places.starts[row]) refusals.falls.report(row + 1, places.starts[row + 1], places.starts[row]);
  const auto range = places.of(row);
  for (int32_t j = range.begin + lane; j < range.end; j += kWarp) {
    const int64_t column = places.index[j];
    if (column >= inputs) refusals.beyond.report(j, column, inputs);
    if (found.rows == nullptr) continue;
    found.rows[j] = static_cast<int32_t>(row);
    if (column < inputs) atomicAdd(found.counts + j / found.chunk * inputs + column, 1);
  }
}

}  // namespace

Status look_at_places(const char* op, const Lists<uint16_t>& places, int64_t inputs, const PlaceRefusals& refusals, const FoundPlaces& found, const CudaContext& context) {
  const int64_t blocks = ceil_div(places.lists < 1 ? 1 : places.lists, static_cast<int64_t>(kLookThreads / kWarp));
  return context.launch(op, look_at_places_kernel, LaunchShape{dim3(static_cast<unsigned>(blocks)), kLookThreads}, places, inputs, refusals, found);
}

Status sparse_linear_cuda(const SparseLinearArgs& args, CudaContext& context) {
  const char* op = "sparse_linear";
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_matrix(op, "x", x));
  HEDDLE_TRY(check_matrix(op, "base", args.base));
  HEDDLE_TRY(check_over_base(op, args.base, y));
  HEDDLE_TRY(check_same_tokens(op, "base", x, y));
  HEDDLE_TRY(check_place_operands(op, args.starts, args.columns, y.dims[1]));
  const Lists<uint16_t> places = places_of(args.starts, args.columns);
  HEDDLE_TRY(check_values(op, "values", args.values, places.count));
  HEDDLE_TRY(look_at_places(op, places, x.dims[1], HEDDLE_PLACE_REFUSALS(context, "sparse_linear"), {}, context));
  return list_product<uint16_t, true>(op, x, args.values.as<float>(), places, y, context);
}

}  // namespace heddle
