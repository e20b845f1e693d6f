// The product from the other side: the matrix is turned round on the device, each column's numbers in rising order, and then
// multiplied like a matrix of rows. Counting and placing take no part in a sum, so every run has the same bits.
#include "cuda/cuda_context.h"
#include "cuda/last_block.cuh"
#include "generated/sparse_ops.h"
#include "kernels/sparse/sparse_places.cuh"

namespace heddle {

namespace {

constexpr int64_t kMostChunks = 256;
constexpr int64_t kLeastChunk = 1024;    // numbers
constexpr int kPlacedColumns = 8192;     // of a block that places numbers: it keeps a counter for each
constexpr unsigned kScanThreads = 256;

// The turned matrix and what leads to it, in scratch memory.
struct Turned {
  FoundPlaces found;
  int64_t chunks;
  int32_t* totals;  // numbers of each column
  int32_t* starts;  // of columns, one more than there are columns
  int32_t* rows;    // of numbers in their new order
  float* values;
};

struct TurnedSizes {
  size_t found_rows, counts, totals, starts, rows, values;  // bytes

  size_t all() const { return found_rows + counts + totals + starts + rows + values; }
};

TurnedSizes turned_sizes(int64_t count, int64_t inputs) {
  const auto bytes = [](int64_t words) { return static_cast<size_t>(ceil_div(words, 64) * 64) * 4; };
  const int64_t chunks = ceil_div(count, kLeastChunk);
  return {bytes(count), bytes((chunks < kMostChunks ? chunks : kMostChunks) * inputs), bytes(inputs), bytes(inputs + 1), bytes(count), bytes(count)};
}

Turned turned_in(std::byte* workspace, int64_t count, int64_t inputs) {
  const TurnedSizes sizes = turned_sizes(count, inputs);
  std::byte* at = workspace;
  const auto next = [&at](size_t bytes) {
    std::byte* here = at;
    at += bytes;
    return here;
  };
  Turned turned;
  turned.found.rows = reinterpret_cast<int32_t*>(next(sizes.found_rows));
  turned.found.counts = reinterpret_cast<int32_t*>(next(sizes.counts));
  turned.found.chunk = ceil_div(count < 1 ? 1 : count, kLeastChunk * kMostChunks) * kLeastChunk;
  turned.chunks = ceil_div(count, turned.found.chunk);
  turned.totals = reinterpret_cast<int32_t*>(next(sizes.totals));
  turned.starts = reinterpret_cast<int32_t*>(next(sizes.starts));
  turned.rows = reinterpret_cast<int32_t*>(next(sizes.rows));
  turned.values = reinterpret_cast<float*>(next(sizes.values));
  return turned;
}

// Counts of a column's numbers become the numbers of earlier chunks; the last block adds up the columns.
__global__ void __launch_bounds__(kScanThreads) scan_kernel(Turned turned, int64_t inputs, int32_t* counter) {
  HEDDLE_SHARED(int32_t, last, 1);
  HEDDLE_SHARED(int32_t, sums, kScanThreads);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kScanThreads + threadIdx.x;
  if (column < inputs) {
    int32_t before = 0;
    for (int64_t chunk = 0; chunk < turned.chunks; chunk++) {
      int32_t& place = turned.found.counts[chunk * inputs + column];
      const int32_t here = place;
      place = before;
      before += here;
    }
    turned.totals[column] = before;
  }
  if (!last_block(counter, static_cast<int32_t>(gridDim.x), last)) return;
  const int64_t each = (inputs + kScanThreads - 1) / kScanThreads, begin = threadIdx.x * each, end = begin + each < inputs ? begin + each : inputs;
  int32_t sum = 0;
  for (int64_t i = begin; i < end; i++) sum += turned.totals[i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  int32_t before = 0;
  for (unsigned thread = 0; thread < threadIdx.x; thread++) before += sums[thread];
  for (int64_t i = begin; i < end; i++) {
    turned.starts[i] = before;
    before += turned.totals[i];
  }
  if (end == inputs) turned.starts[inputs] = before;
}

// A warp takes a chunk's numbers in their order, those of kPlacedColumns columns.
__global__ void __launch_bounds__(kWarp) place_kernel(Turned turned, const uint16_t* columns, const float* values, int64_t count, int64_t inputs) {
  HEDDLE_SHARED(int32_t, next, kPlacedColumns);
  const int64_t chunk = static_cast<int64_t>(blockIdx.x) % turned.chunks, first = static_cast<int64_t>(blockIdx.x) / turned.chunks * kPlacedColumns;
  const int here = inputs - first < kPlacedColumns ? static_cast<int>(inputs - first) : kPlacedColumns;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < here; i += kWarp) next[i] = turned.starts[first + i] + turned.found.counts[chunk * inputs + first + i];
  __syncwarp();
  const int64_t begin = chunk * turned.found.chunk, end = begin + turned.found.chunk < count ? begin + turned.found.chunk : count;
  for (int64_t at = begin; at < end; at += kWarp) {
    const int64_t j = at + lane;
    const int64_t column = j < end ? static_cast<int64_t>(columns[j]) - first : -1;
    const bool mine = column >= 0 && column < here;
    // Lanes without a number are alone with a key that no column has.
    const unsigned same = __match_any_sync(kFullWarp, mine ? static_cast<int>(column) : -1 - lane);
    const int rank = __popc(same & ((1u << lane) - 1));
    const int64_t place = mine ? static_cast<int64_t>(next[column]) + rank : count;
    __syncwarp();
    if (mine && rank == 0) next[column] += __popc(same);
    __syncwarp();
    // Where the places were refused, counts may be wrong too.
    if (place < 0 || place >= count) continue;
    turned.rows[place] = turned.found.rows[j];
    turned.values[place] = values[j];
  }
}

}  // namespace

size_t sparse_linear_grad_x_cuda_workspace(const SparseLinearGradXArgs& args, const DeviceLimits&) {
  return turned_sizes(args.columns.dims[0] / 2, args.dx.dims[1]).all();
}

Status sparse_linear_grad_x_cuda(const SparseLinearGradXArgs& args, CudaContext& context) {
  const char* op = "sparse_linear_grad_x";
  const TensorView &dy = args.dy, &dx = args.dx;
  HEDDLE_TRY(check_matrix(op, "dy", dy));
  HEDDLE_TRY(check_matrix(op, "dx", dx));
  HEDDLE_TRY(check_same_tokens(op, "dx", dy, dx));
  HEDDLE_TRY(check_place_operands(op, args.starts, args.columns, dy.dims[1]));
  const Lists<uint16_t> places = places_of(args.starts, args.columns);
  HEDDLE_TRY(check_values(op, "values", args.values, places.count));
  const int64_t inputs = dx.dims[1];
  const Turned turned = turned_in(context.workspace, places.count, inputs);
  HEDDLE_TRY(context.zero(op, turned.found.counts, static_cast<size_t>(turned.chunks * inputs) * sizeof(int32_t)));
  HEDDLE_TRY(look_at_places(op, places, inputs, HEDDLE_PLACE_REFUSALS(context, "sparse_linear_grad_x"), turned.found, context));
  const LaunchShape scan = {dim3(static_cast<unsigned>(ceil_div(inputs, kScanThreads))), kScanThreads};
  HEDDLE_TRY(context.launch(op, scan_kernel, scan, turned, inputs, context.counters));
  const LaunchShape place = {dim3(static_cast<unsigned>(turned.chunks * ceil_div(inputs, kPlacedColumns))), kWarp};
  HEDDLE_TRY(context.launch(op, place_kernel, place, turned, places.index, args.values.as<float>(), places.count, inputs));
  const Lists<int32_t> columns = {turned.starts, turned.rows, inputs, places.count};
  return list_product<int32_t, false>(op, dy, turned.values, columns, dx, context);
}

}  // namespace heddle
