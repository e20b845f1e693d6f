// Reductions over the last dimension. A row is read once; parts of a wide row are combined by the last of its blocks, in one launch.
#include "cuda/cuda_context.h"
#include "cuda/row_parts.cuh"
#include "generated/reduce_ops.h"
#include "kernels/reduce/reduce_checks.h"

namespace heddle {

namespace {

// Floats in their order as integers in theirs; a NaN comes after all others.
__device__ __forceinline__ uint32_t order_of(float value) {
  const uint32_t bits = __float_as_uint(value);
  if (value != value) return 0xffffffffu;
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
constexpr uint32_t kLowest = 0x007fffffu;  // order_of(-infinity)

struct Sum {
  using Total = double;
  using Result = float;
  double divisor;

  __device__ static Total start() { return 0; }
  __device__ static Total add(Total total, const Four& four, int64_t, int) { return total + static_cast<double>((four.v[0] + four.v[1]) + (four.v[2] + four.v[3])); }
  __device__ static Total join(Total a, Total b) { return a + b; }
  template <class Team>
  __device__ static Total over_team(Total total, SharedPointer<Total> scratch) {
    return Team::sum(total, scratch);
  }
  __device__ Result finish(Total total) const { return static_cast<float>(total / divisor); }
};

template <class OrderOf>
struct Largest {
  using Total = OrderOf;

  __device__ static Total join(Total a, Total b) { return b > a ? b : a; }
  template <class Team>
  __device__ static Total over_team(Total total, SharedPointer<Total> scratch) {
    return Team::max(total, scratch);
  }
};

struct Maximum : Largest<uint32_t> {
  using Result = float;

  __device__ static Total start() { return kLowest; }
  __device__ static Total add(Total total, const Four& four, int64_t, int count) {
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (k < count) total = join(total, order_of(four.v[k]));
    return total;
  }
  __device__ static Result finish(Total total) {
    if (total == 0xffffffffu) return __uint_as_float(0x7fc00000u);
    return __uint_as_float((total & 0x80000000u) != 0 ? total & 0x7fffffffu : ~total);
  }
};

// The value's order above, and below it what falls as the index rises: the largest of these is the first maximum.
struct FirstMaximum : Largest<uint64_t> {
  using Result = int32_t;

  __device__ static Total place(uint32_t order, int64_t index) { return static_cast<uint64_t>(order) << 32 | (0xffffffffu - static_cast<uint32_t>(index)); }
  __device__ static Total start() { return place(kLowest, 0); }
  __device__ static Total add(Total total, const Four& four, int64_t first, int count) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const float value = four.v[k] + 0.0f;  // -0 equals 0
      if (k < count && value == value) total = join(total, place(order_of(value), first + k));
    }
    return total;
  }
  __device__ static Result finish(Total total) { return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(total)); }
};

template <class Kind, class Team>
__global__ void __launch_bounds__(Team::kThreads)
    reduce_kernel(RowsOf<const float> x, RowCut cut, bool aligned, Kind kind, typename Kind::Result* y, typename Kind::Total* totals, int32_t* counters) {
  using Total = typename Kind::Total;
  HEDDLE_SHARED(Total, scratch, 32);
  HEDDLE_SHARED(int32_t, last, 1);
  const RowPart part = part_of<Team>(cut);
  if (part.row >= cut.rows) return;
  const RowValues<Team> values(x.row(part.row) + part.first, part.width, aligned);
  Total total = Kind::start();
  each_four<Team>(part.width, [&](int slot, int64_t i, int count) { total = Kind::add(total, values.at(slot, i, count), part.first + i, count); });
  total = Kind::template over_team<Team>(total, scratch);
  if constexpr (Team::kIsBlock) {
    if (cut.parts > 1) {
      const int64_t row = part.row - cut.first_row;
      Total* of_row = totals + row * cut.parts;
      if (threadIdx.x == 0) of_row[part.first / kPartColumns] = total;
      if (!last_block(counters + row, static_cast<int32_t>(cut.parts), last)) return;
      total = Kind::start();
      for (int64_t i = threadIdx.x; i < cut.parts; i += blockDim.x) total = Kind::join(total, of_row[i]);
      total = Kind::template over_team<Team>(total, scratch);
    }
  }
  if (Team::index() == 0) y[part.row] = kind.finish(total);
}

template <class Kind>
Status reduce_rows(const char* op, const TensorView& x, const TensorView& y, const Kind& kind, CudaContext& context) {
  const Rows rows = rows_of(x);
  return with_row_parts(rows.count, rows.columns, [&](auto team, const RowCut& cut, const LaunchShape& shape) {
    return context.launch(op, reduce_kernel<Kind, decltype(team)>, shape, device_rows<const float>(x), cut, rows_aligned(x), kind,
                          y.as<typename Kind::Result>(), reinterpret_cast<typename Kind::Total*>(context.workspace), context.counters);
  });
}

}  // namespace

size_t reduce_cuda_workspace(const ReduceArgs& args, const DeviceLimits&) { return part_values(args.x.rows(), args.x.columns()) * sizeof(double); }
size_t argmax_cuda_workspace(const ArgmaxArgs& args, const DeviceLimits&) { return part_values(args.x.rows(), args.x.columns()) * sizeof(uint64_t); }

Status reduce_cuda(const ReduceArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_reduced("reduce", args.x, args.y, DType::kF32));
  if (args.kind == ReduceKind::kMax) return reduce_rows("reduce", args.x, args.y, Maximum{}, context);
  const double divisor = args.kind == ReduceKind::kMean ? static_cast<double>(args.x.columns()) : 1;
  return reduce_rows("reduce", args.x, args.y, Sum{divisor}, context);
}

Status argmax_cuda(const ArgmaxArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_argmax(args.x, args.y));
  return reduce_rows("argmax", args.x, args.y, FirstMaximum{}, context);
}

}  // namespace heddle
