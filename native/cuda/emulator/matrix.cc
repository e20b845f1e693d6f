#include "cuda/emulator/matrix.h"

#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/emulated_shared.h"

namespace heddle::emulator {

namespace {

struct MatrixLoad {
  uint32_t* to;
  int count;
  bool transposed;
  SharedAddress row;
};

template <class T>
T& operand(Thread& lane) {
  return *reinterpret_cast<T*>(lane.request.value);
}

void load_any(uint32_t* to, int count, SharedAddress row, bool transposed) {
  MatrixLoad load{to, count, transposed, row};
  warp_exchange(WarpKind::kLoadMatrix, 0xffffffffu, reinterpret_cast<uint64_t>(&load), count * 2 + transposed, {"ldmatrix", 0});
}

}  // namespace

// Every sum runs over k in order, eight columns side by side.
void multiply_fragments(Thread* lanes) {
  using Four = float __attribute__((vector_size(16)));
  alignas(16) float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const Fragments& mine = operand<Fragments>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4;
    for (int half = 0; half < 2; half++) {
      for (int part = 0; part < 4; part++) a[group + part % 2 * 8][2 * pair + part / 2 * 8 + half] = mine.a[part * 2 + half];
      for (int part = 0; part < 2; part++) b[2 * pair + part * 8 + half][group] = mine.b[part * 2 + half];
    }
    for (int part = 0; part < 4; part++) d[group + part / 2 * 8][2 * pair + part % 2] = mine.d[part];
  }
  for (int row = 0; row < 16; row++) {
    Four low, high;
    std::memcpy(&low, d[row], sizeof low);
    std::memcpy(&high, d[row] + 4, sizeof high);
    for (int k = 0; k < 16; k++) {
      Four left, right;
      std::memcpy(&left, b[k], sizeof left);
      std::memcpy(&right, b[k] + 4, sizeof right);
      low += a[row][k] * left;
      high += a[row][k] * right;
    }
    std::memcpy(d[row], &low, sizeof low);
    std::memcpy(d[row] + 4, &high, sizeof high);
  }
  for (int lane = 0; lane < 32; lane++) {
    const Fragments& mine = operand<Fragments>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4;
    for (int part = 0; part < 4; part++) mine.d[part] = d[group + part / 2 * 8][2 * pair + part % 2];
  }
}

void load_fragments(Thread* lanes) {
  uint16_t rows[32][8];
  const int count = operand<MatrixLoad>(lanes[0]).count;
  const bool transposed = operand<MatrixLoad>(lanes[0]).transposed;
  for (int lane = 0; lane < 32; lane++) {
    const MatrixLoad& load = operand<MatrixLoad>(lanes[lane]);
    if (load.count != count || load.transposed != transposed) fail_thread("ldmatrix: lane %d loads other matrices than lane 0", lane);
    if (lane < count * 8) std::memcpy(rows[lane], read_shared<16>(load.row, 16, lanes[lane].index), 16);
  }
  for (int lane = 0; lane < 32; lane++) {
    const MatrixLoad& load = operand<MatrixLoad>(lanes[lane]);
    for (int matrix = 0; matrix < count; matrix++) {
      uint16_t pair[2];
      for (int i = 0; i < 2; i++)
        pair[i] = transposed ? rows[matrix * 8 + 2 * (lane % 4) + i][lane / 4] : rows[matrix * 8 + lane / 4][2 * (lane % 4) + i];
      load.to[matrix] = static_cast<uint32_t>(pair[0]) | static_cast<uint32_t>(pair[1]) << 16;
    }
  }
}

void load_matrix(uint32_t* to, int count, SharedAddress row) { load_any(to, count, row, false); }
void load_matrix_transposed(uint32_t* to, int count, SharedAddress row) { load_any(to, count, row, true); }

void multiply_matrix(Fragments* fragments) {
  warp_exchange(WarpKind::kMma, 0xffffffffu, reinterpret_cast<uint64_t>(fragments), 0, {"mma", 0});
}

}  // namespace heddle::emulator
