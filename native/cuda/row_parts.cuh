// Rows of any width cut into parts: a narrow row belongs to lanes of a warp, a wider one to a block, and one too wide for that is cut into
// parts of kPartColumns columns, a block each. Where rows are cut depends on their width alone, so sums of parts that are combined
// in rising order have the same bits whatever a row's neighbours.
#pragma once
#include "cuda/last_block.cuh"
#include "cuda/row_team.cuh"

namespace heddle {

inline constexpr int64_t kPartColumns = 4096;
inline constexpr int kPartThreads = static_cast<int>(kPartColumns) / (4 * kRowFours);

struct RowCut {
  int64_t rows, width;
  int64_t parts;      // of a row
  int64_t first_row;  // of the launch
};

// What a team works on: columns first to first + width - 1 of a row. `row` may be beyond the last.
struct RowPart {
  int64_t row, first, width;
};

template <class Team>
__device__ __forceinline__ RowPart part_of(const RowCut& cut) {
  if (!Team::kIsBlock || cut.parts == 1) return {cut.first_row + Team::row(), 0, cut.width};
  const int64_t row = static_cast<int64_t>(blockIdx.x) / cut.parts, first = static_cast<int64_t>(blockIdx.x) % cut.parts * kPartColumns;
  return {cut.first_row + row, first, cut.width - first < kPartColumns ? cut.width - first : kPartColumns};
}

// MostThreads of a block, each with up to 16 elements, bound the rows that are not cut.
template <int MostThreads = 1024>
int64_t row_parts(int64_t width) {
  return width <= static_cast<int64_t>(MostThreads) * 4 * kRowFours ? 1 : ceil_div(width, kPartColumns);
}

// Rows that one launch covers where rows are cut: each has a counter.
inline int64_t rows_at_once(int64_t rows) { return rows < kCounters ? rows : kCounters; }

// Elements of scratch memory for one value per part, at the largest extents.
template <int MostThreads = 1024>
size_t part_values(int64_t rows, int64_t width) {
  return static_cast<size_t>(rows_at_once(rows)) * static_cast<size_t>(row_parts<MostThreads>(width));
}

// Calls body(team, cut, launch shape) on the host, for each launch that rows of this width need.
template <int MostThreads = 1024, class Body>
Status with_row_parts(int64_t rows, int64_t width, const Body& body) {
  if (width <= kWarpRow)
    return with_lane_team<MostThreads>(rows, width, [&](auto team, const LaunchShape& shape) { return body(team, RowCut{rows, width, 1, 0}, shape); });
  using Team = RowTeam<RowMode::kBlock, MostThreads>;
  const int64_t parts = row_parts<MostThreads>(width);
  if (parts == 1) return body(Team{}, RowCut{rows, width, 1, 0}, LaunchShape{dim3(static_cast<unsigned>(rows)), row_threads(width)});
  for (int64_t first = 0; first < rows; first += kCounters) {
    const int64_t here = rows_at_once(rows - first);
    HEDDLE_TRY(body(Team{}, RowCut{rows, width, parts, first}, LaunchShape{dim3(static_cast<unsigned>(here * parts)), kPartThreads}));
  }
  return Status::success();
}

}  // namespace heddle
